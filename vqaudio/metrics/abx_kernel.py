"""Compiled loops of ABX: distances between tokens, and their comparison. `abx` prepares the arguments."""

import numba
import numpy as np

from vqaudio.metrics.dtw import edit_distance

TABLE, FEATURES, IDENTICAL, EDIT = range(4)
"""Kinds of distance: from a table of symbols, of unit vectors, equality of symbols, edits of symbols."""


@numba.njit(cache=True, nogil=True, fastmath={"contract", "reassoc"})
def dot(x: np.ndarray, y: np.ndarray) -> float:
    """Return the inner product; the order of the sum is free."""
    total = 0.0
    for d in range(len(x)):
        total += np.float64(x[d]) * np.float64(y[d])
    return total


@numba.njit(cache=True, nogil=True)
def frame_distances(
    kind: int,
    symbols: np.ndarray,
    table: np.ndarray,
    vectors: np.ndarray,
    i: int,
    start: int,
    end: int,
    row: np.ndarray,
) -> None:
    """Write the distances of frame i to the frames `start` to `end` - 1 into `row`."""
    if kind == TABLE:
        for j in range(start, end):
            row[j - start] = table[symbols[i], symbols[j]]
    elif kind == FEATURES:
        for j in range(start, end):
            row[j - start] = np.arccos(min(1.0, max(-1.0, dot(vectors[i], vectors[j])))) / np.pi
    else:
        for j in range(start, end):
            row[j - start] = 1.0 if symbols[i] != symbols[j] else 0.0


@numba.njit(cache=True, nogil=True)
def warp_row(row: np.ndarray, first: bool, cost: np.ndarray, length: np.ndarray, N: int) -> None:
    """Extend the paths by one frame of x, whose distances to the N frames of y are in `row`.

    `cost` and `length` (N,) are those of the best paths that end at each frame of y. Among equal costs the path comes
    from the diagonal, else from the previous frame of y, else from that of x.
    """
    diagonal, diagonal_length = 0.0, 0
    for j in range(N):
        up, up_length = cost[j], length[j]
        if j == 0:
            best, steps = (0.0, 0) if first else (up, up_length)
        elif first or (cost[j - 1] <= up and cost[j - 1] < diagonal):
            best, steps = cost[j - 1], length[j - 1]
        elif diagonal <= up:
            best, steps = diagonal, diagonal_length
        else:
            best, steps = up, up_length
        cost[j], length[j] = best + row[j], steps + 1
        diagonal, diagonal_length = up, up_length


@numba.njit(cache=True, nogil=True)
def group_distances(
    kind: int,
    x_tokens: np.ndarray,
    y_tokens: np.ndarray,
    symbols: np.ndarray,
    table: np.ndarray,
    vectors: np.ndarray,
    work: np.ndarray,
    out: np.ndarray,
) -> None:
    """Write the distances between tokens, which are rows (start, end) of frames, into `out`; `work` is (3, longest)."""
    cost, length, row = work[0], work[1], work[2]
    for x in range(len(x_tokens)):
        x_start, x_end = x_tokens[x]
        for y in range(len(y_tokens)):
            y_start, y_end = y_tokens[y]
            N = y_end - y_start
            if kind == EDIT:
                edits = edit_distance(symbols[x_start:x_end], symbols[y_start:y_end])
                out[x, y] = edits / max(N, x_end - x_start)
                continue
            for i in range(x_start, x_end):
                frame_distances(kind, symbols, table, vectors, i, y_start, y_end, row)
                warp_row(row, i == x_start, cost, length, N)
            out[x, y] = cost[N - 1] / length[N - 1]


@numba.njit(cache=True, nogil=True)
def score_jobs(
    kind: int,
    jobs: np.ndarray,
    groups: np.ndarray,
    tokens: np.ndarray,
    symbols: np.ndarray,
    table: np.ndarray,
    vectors: np.ndarray,
    errors: np.ndarray,
) -> None:
    """Compare each job's X with its A and with every B of A's block.

    Args:
        kind: one of the kinds above.
        jobs: (J, 3): group of X, group of A, and where the errors of the job begin in `errors`. If X and A are the
            same group, no token is compared with itself.
        groups: (g, 4): first token, token after the last, first group of the block, group after the last.
        tokens: (n, 2): first frame, frame after the last.
        symbols: (M,) of all frames; unused by FEATURES.
        table: (S, S) distances of symbols; used by TABLE.
        vectors: (M, D) unit vectors; used by FEATURES.
        errors: filled with 1 − the share of right comparisons, for each group of A's block; 0 for A itself.
    """
    longest, largest = 1, 1
    for token in range(len(tokens)):
        longest = max(longest, tokens[token, 1] - tokens[token, 0])
    for group in range(len(groups)):
        largest = max(largest, groups[group, 1] - groups[group, 0])
    work = np.zeros((3, longest))
    to_a, to_b = np.empty((largest, largest)), np.empty((largest, largest))
    for job in range(len(jobs)):
        x, a, place = jobs[job]
        x_tokens, a_tokens = tokens[groups[x, 0] : groups[x, 1]], tokens[groups[a, 0] : groups[a, 1]]
        group_distances(kind, x_tokens, a_tokens, symbols, table, vectors, work, to_a)
        for b in range(groups[a, 2], groups[a, 3]):
            if b != a:
                b_tokens = tokens[groups[b, 0] : groups[b, 1]]
                group_distances(kind, x_tokens, b_tokens, symbols, table, vectors, work, to_b)
                errors[place + b - groups[a, 2]] = error_rate(
                    to_a, to_b, len(x_tokens), len(a_tokens), len(b_tokens), x == a
                )


@numba.njit(cache=True, nogil=True)
def error_rate(to_a: np.ndarray, to_b: np.ndarray, X: int, A: int, B: int, same: bool) -> float:
    """Return 1 − the share of triples whose X is nearer to A than to B; equally near ones count half."""
    right, total = 0.0, 0
    for x in range(X):
        for a in range(A):
            if same and a == x:
                continue
            for b in range(B):
                if to_a[x, a] < to_b[x, b]:
                    right += 1.0
                elif to_a[x, a] == to_b[x, b]:
                    right += 0.5
                total += 1
    return 1.0 - right / total
