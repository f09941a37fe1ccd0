#!/usr/bin/env bash
# Speech to units and back: from a corpus to units, reconstructions, scores and a report.
set -euo pipefail

stage=-1
stop_stage=9
nj=$(env -u OMP_NUM_THREADS -u OMP_THREAD_LIMIT nproc 2>/dev/null || getconf _NPROCESSORS_ONLN) # nproc obeys both
mini=false
vctk_root=
data_dir=
download=false
alignment=
quantizer=kmeans
model=
init=
trainer=
unseen_speakers=
tag=
train_args=

help_message="Usage: recipes/vctk/run.sh (--mini true | --vctk-root DIR | --data-dir DIR | --download true) [options]

The corpus, one of
  --mini true             the embedded corpus: 8 synthetic voices, 25 minutes (corpus/)
  --vctk-root DIR         VCTK 0.80 or 0.92 (microphone 1), at any sampling rate
  --data-dir DIR          any Kaldi data directory with audio files
  --download true         VCTK 0.92 from the University of Edinburgh (11.7 GB, CC BY 4.0)
Options
  --alignment FILE        phone times (CTM, seconds) for the unit metrics (default: phones.ctm of the corpus)
  --unseen-speakers NAMES speakers of test_unseen, separated by spaces (default: see README.md, Splits)
  --quantizer NAME        kmeans or gumbel (default: $quantizer)
  --model NAME            tiny, base or paper (default: tiny with --mini, else base)
  --init MODEL            begin with a trained model: a model directory, or default, the released one; instead of
                          --model and --quantizer
  --trainer NAME          mini, units or default (default: mini with --mini, else default)
  --train-args ARGS       Hydra overrides, separated by spaces: 'trainer.max_steps=1000 seed=1'
  --tag NAME              name of the run, exp/NAME (default: <corpus>_<model>_<quantizer>,
                          or <corpus>_from_<init>)
  --nj N                  number of parallel jobs (default: the available cores, $nj)
  --stage N               first stage (default: $stage)
  --stop-stage N          last stage (default: $stop_stage)
Stages
  -1 download                 0 data directory   1 splits   2 format   3 train   4 extract units
   5 synthesise from units    6 score            7 report   8 results   9 listening test
Finished stages are skipped, and an interrupted stage resumes where it stopped. All output goes to the folder of
run.sh: downloads/, data/<corpus>/ and exp/<tag>/. cmd.sh sets where jobs run (this machine, or Slurm)."

here=$(CDPATH='' cd -- "$(dirname -- "${BASH_SOURCE[0]}")" && pwd)
# shellcheck disable=SC2034  # read by parse_options.sh
options=(stage stop_stage nj mini vctk_root data_dir download alignment quantizer model init trainer unseen_speakers tag
  train_args)
. "$here/../../tools/parse_options.sh"
. "$here/local/options.sh"
. "$here/path.sh"
. "$here/cmd.sh"
. "$here/local/stages.sh"

threads=$nj # of one job
if [ "$cmd_backend" = slurm ]; then threads=$slurm_cores; fi
data=$here/data/$corpus
exp=$here/exp/$tag
sets=(train dev test_seen test_unseen)
shape=("model=$model" "quantizer=$quantizer")
if [ -n "$init" ]; then shape=("init=$(hydra_quote "$init")"); fi
config=("${shape[@]}" "trainer=$trainer" "${extra_overrides[@]}"
  "data.train=$(hydra_quote "$data/train")" "data.valid=$(hydra_quote "$data/dev")" "exp_dir=$(hydra_quote "$exp")")
inputs=$(python "$here/local/stage_inputs.py" "${config[@]}")
read -r sample_rate quantizer config_sum package_sum <<<"$inputs"
if [ "$stage" -le 2 ]; then claim "$data" "recipe data"; fi
if [ "$stop_stage" -ge 3 ]; then claim "$exp" model; fi
say "corpus $corpus, run $tag; logs in $data/log and $exp/log"

if [ "$download" = true ] && stage -1 download "download VCTK 0.92 (11.7 GB)" "$source_dir" \
  "$(checksum "$here/local/download.sh")"; then
  job "$data/log/download.log" "$here/local/download.sh" "$source_dir"
  finish
fi

if [ ! -d "$source_dir" ]; then die "$source_dir: no such folder; $source_cure"; fi

alignment_sum=$(if [ -n "$alignment" ]; then checksum "$alignment"; fi)
if stage 0 data "data directory of the whole corpus" "$data/all/utt2spk" "$source_option" "$alignment_sum" \
  "$(python "$here/local/list_files.py" "$source_dir")" \
  "$package_sum" "$(checksum "$here/local/data_prep.py")"; then
  job "$data/log/data_prep.log" python "$here/local/data_prep.py" "$source_option" "$source_dir" \
    ${alignment:+--alignment "$alignment"} "$data/all"
  finish
fi

if stage 1 split "train, dev, test_seen, test_unseen" "$data/raw/train/utt2spk" "$unseen_speakers" "$cap_unseen" \
  "$package_sum" "$(checksum "$here/splits/unseen_speakers.txt" "$here/local/make_splits.py")"; then
  job "$data/log/make_splits.log" python "$here/local/make_splits.py" --committed "$here/splits/unseen_speakers.txt" \
    --unseen-speakers "$unseen_speakers" ${cap_unseen:+--cap-unseen "$cap_unseen"} "$data/all" "$data/raw"
  finish
fi

if stage 2 format "resample to $sample_rate Hz, trim silence" "$data/train/utt2spk" "$sample_rate" \
  "$package_sum" "$(checksum "$here/local/format_data.py")"; then
  if [ "$changed" = true ]; then (cd -- "$data" && rm -f -- "${sets[@]/%//cuts.jsonl}"); fi
  begun
  job "$data/log/format.log" python "$here/local/format_data.py" --sample-rate "$sample_rate" --jobs "$threads" \
    "$data/raw" "$data"
  for name in "${sets[@]}"; do
    job "$data/log/validate_$name.log" vqaudio data validate "$data/$name"
  done
  finish "$(checksum_sets)"
fi

if stage 3 train "train (exp/$tag/train.log)" "$exp/model.safetensors" "$config_sum"; then
  if [ "$changed" = true ]; then set_aside; fi
  begun
  job "$exp/log/train.log" vqaudio train "${config[@]}"
  finish
fi

if stage 4 extract "extract units" "$exp/units/test_unseen/units.json" "$(checksum_model)" "$package_sum"; then
  if [ "$changed" = true ]; then rm -rf -- "$exp/units"; fi
  begun
  for name in "${sets[@]}"; do
    shards=$(number_of_shards "$data/$name/utt2spk")
    job JOB=1:"$shards" "$exp/log/extract_$name.$JOB.log" vqaudio extract --model "$exp" --data "$data/$name" \
      --out "$exp/units/$name" --shard "$JOB/$shards" --jobs "$threads"
  done
  finish
fi

if stage 5 reconstruct "synthesise speech from the units" "$exp/wav/test_unseen/wav.scp" "$(checksum_model)" \
  "$package_sum"; then
  job "$exp/log/swap_speakers.log" python "$here/local/swap_speakers.py" "$data/test_seen/utt2spk" "$exp/swap_utt2spk"
  decode=(vqaudio decode --model "$exp" --jobs "$threads")
  job "$exp/log/decode_test_seen.log" "${decode[@]}" --units "$exp/units/test_seen" --out "$exp/wav/test_seen" \
    --utt2spk "$data/test_seen/utt2spk"
  if [ -f "$exp/swap_utt2spk" ]; then
    job "$exp/log/decode_test_seen_swap.log" "${decode[@]}" --units "$exp/units/test_seen" \
      --out "$exp/wav/test_seen_swap" --utt2spk "$exp/swap_utt2spk"
  else
    say "test_seen has one speaker, so there is no speaker swap"
    rm -rf -- "$exp/wav/test_seen_swap"
  fi
  # Unseen speakers get the <unknown> voice.
  job "$exp/log/decode_test_unseen.log" "${decode[@]}" --units "$exp/units/test_unseen" --out "$exp/wav/test_unseen"
  finish
fi

find_judges
if stage 6 score "score" "$exp/scores.json" "$package_sum" \
  "$(checksum "$here/local/"{score_baselines,collect_scores}.py)" "$judges"; then
  if [ -n "$judges" ]; then say "judges listen, with Whisper of $judges"; else say "no judges: $no_judges"; fi
  rm -rf -- "$exp/scores"
  mkdir -p -- "$exp/scores"
  for name in dev test_seen test_unseen; do
    if [ ! -f "$data/$name/phones.ctm" ] || [ ! -f "$data/train/phones.ctm" ]; then continue; fi
    job "$exp/log/score_units_$name.log" vqaudio evaluate units --units "$exp/units/$name" --model "$exp" \
      --alignment "$data/$name/phones.ctm" --utt2spk "$data/$name/utt2spk" --mapping-units "$exp/units/train" \
      --mapping-alignment "$data/train/phones.ctm" --json "$exp/scores/units_$name.json"
  done
  for name in test_seen test_unseen; do
    judge_options "$data/$name/text"
    job "$exp/log/score_audio_$name.log" vqaudio evaluate audio --reference "$data/$name/wav.scp" \
      --system "$exp/wav/$name/wav.scp" --jobs "$threads" --json "$exp/scores/audio_$name.json" \
      ${judging[@]+"${judging[@]}"}
    if [ "${#judging[@]}" -gt 0 ] && [ -f "$exp/wav/${name}_swap/wav.scp" ]; then
      job "$exp/log/score_audio_${name}_swap.log" vqaudio evaluate audio --reference "$data/$name/wav.scp" \
        --system "$exp/wav/${name}_swap/wav.scp" --jobs "$threads" --json "$exp/scores/audio_${name}_swap.json" \
        "${judging[@]}" --voices "$exp/swap_utt2spk"
    fi
  done
  job "$exp/log/score_baselines.log" python "$here/local/score_baselines.py" "$exp" "$data"
  if [ -f "$data/test_seen/phones.ctm" ] && [ -f "$data/train/phones.ctm" ]; then
    # No words here: to synthesise and judge the speech of one penalty takes longer than all of this.
    job "$exp/log/score_curve.log" vqaudio evaluate curve --model "$exp" \
      --model "$exp/baseline/mfcc/kmeans.safetensors" --model "$exp/baseline/mfcc-stacked/kmeans.safetensors" \
      --change-penalties 0 0.5 1 2 --data "$data/test_seen" --alignment "$data/test_seen/phones.ctm" \
      --mapping-data "$data/train" --mapping-alignment "$data/train/phones.ctm" --jobs "$threads" \
      --json "$exp/scores/curve.json"
  fi
  job "$exp/log/collect_scores.log" python "$here/local/collect_scores.py" "$exp" "$data" \
    "$((SECONDS - stage_began))"
  finish
fi

if stage 7 report "report (exp/$tag/report.html)" "$exp/report.html" "$package_sum"; then
  job "$exp/log/report.log" vqaudio report "$exp"
  finish
fi

if stage 8 results "results (exp/$tag/RESULTS.md)" "$exp/RESULTS.md" "$command" \
  "$(checksum "$here/local/results_row.py")"; then
  job "$exp/log/results.log" python "$here/local/results_row.py" "$exp" --command "$command"
  finish
  cat -- "$exp/RESULTS.md"
fi

if stage 9 listen "listening test (exp/$tag/listen)" "$exp/listen/private/key.json" "$(listening_systems)" \
  "$package_sum" "$(checksum "$here/local/listening_set.py")"; then
  set_test_aside
  rm -rf -- "$exp/listening"
  # Eight utterances and one for practice, also from units that change half as often.
  job "$exp/log/listening_set.log" python "$here/local/listening_set.py" "$data/test_seen" "$exp/listening/data" 9
  job "$exp/log/extract_penalty.log" vqaudio extract --model "$exp" --data "$exp/listening/data" \
    --out "$exp/listening/units" --change-penalty 1 --jobs "$threads"
  job "$exp/log/decode_penalty.log" vqaudio decode --model "$exp" --units "$exp/listening/units" \
    --out "$exp/listening/wav" --utt2spk "$exp/listening/data/utt2spk" --jobs "$threads"
  systems=(--system "${quantizer}_penalty=$exp/listening/wav/wav.scp")
  while IFS=$'\t' read -r name scp _; do systems+=(--system "$name=$scp"); done < <(listening_systems)
  job "$exp/log/listen.log" vqaudio listen build --type mushra --reference "$exp/listening/data/wav.scp" \
    "${systems[@]}" --out "$exp/listen"
  finish
  say "to look at it: vqaudio listen serve $exp/listen --preview; without --preview, answers are saved"
fi
