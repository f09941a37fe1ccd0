// A page of questions: whole numbers, choices and texts, some of which may be left out.

import { element, nextButton, nextByKey, say, show } from "./dom.js";
import { number, t } from "./texts.js";

const MAX_TEXT = 2000; // letters

export function showForm(test, page, next) {
  const form = element("form", { noValidate: true });
  const parts = page.questions.map((question) => new Question(test, question));
  const missing = element("p", { className: "hint", id: "missing" });
  const onwards = nextButton(t("next"), goOn);
  form.append(...parts.map((part) => part.body), element("div", { className: "foot" }, missing, onwards));
  form.onsubmit = (event) => {
    event.preventDefault(); // nothing leaves the page but answers
    goOn();
  };
  const title = page.id === "before" || page.id === "after" ? page.id : "other";
  show(element("h1", {}, t(`form.${title}`)), form);
  nextByKey(onwards);
  test.renew = () => parts.forEach((part) => part.renew());

  function goOn() {
    const problems = parts.map((part) => part.problem()).filter(Boolean);
    missing.classList.toggle("urgent", problems.length > 0);
    missing.textContent = problems[0] ?? "";
    if (!problems.length) {
      parts.forEach((part) => part.save());
      return next();
    }
    say(problems[0]);
    parts.find((part) => part.problem()).focus();
  }
}

class Question {
  constructor(test, question) {
    this.test = test;
    this.question = question;
    this.label = question.required ? question.ask : t("form.optional", { ask: question.ask });
    this.body = question.type === "choice" ? this.choices() : this.field();
    this.renew();
  }

  choices() {
    const { name, choices } = this.question;
    const set = element("fieldset", { className: "options" }, element("legend", { className: "ask" }, this.label));
    this.inputs = choices.map((text) => element("input", { type: "radio", name, value: text }));
    this.inputs.forEach((input) => {
      input.onchange = () => this.save();
      set.append(element("label", {}, input, element("span", {}, input.value)));
    });
    return set;
  }

  field() {
    const { name, type, min, max } = this.question;
    const input = type === "number" ? element("input", { type: "number", step: 1 }) : element("textarea", { rows: 3 });
    if (type === "text") input.maxLength = MAX_TEXT;
    input.min = min ?? "";
    input.max = max ?? "";
    input.id = `question-${name}`;
    input.onchange = () => this.save();
    this.inputs = [input];
    return element("p", {}, element("label", { className: "ask", htmlFor: input.id }, this.label), input);
  }

  // What was entered: a number (NaN if it is none), a text, or undefined for nothing.
  entered() {
    const [input] = this.inputs;
    if (this.question.type === "choice") return this.inputs.find(({ checked }) => checked)?.value;
    if (input.validity.badInput) return NaN;
    if (input.value.trim() === "") return undefined;
    return this.question.type === "number" ? Number(input.value) : input.value.trim();
  }

  /** What keeps the listener on the page; "" if nothing does. */
  problem() {
    const { ask, type, required, min, max } = this.question;
    const value = this.entered();
    if (value === undefined) return required ? t("form.lacking", { list: ask }) : "";
    if (type !== "number") return "";
    if (Number.isInteger(value) && value >= (min ?? -Infinity) && value <= (max ?? Infinity)) return "";
    const bounds = `form.number${min === null ? "" : "_from"}${max === null ? "" : "_to"}`;
    return t(bounds, { ask, min: number(min), max: number(max) });
  }

  save() {
    const { answers, shownAt } = this.test;
    const { name, type } = this.question;
    const taken = type === "text" && answers.value("form", name) !== undefined; // a text may be taken back
    const value = this.entered() ?? (taken ? "" : undefined);
    if (value === undefined || this.problem()) return;
    answers.record("form", name, value, performance.now() - shownAt, 0);
  }

  /** Shows the answer that is known. */
  renew() {
    const known = this.test.answers.value("form", this.question.name);
    if (known === undefined || this.inputs.includes(document.activeElement)) return;
    if (this.question.type === "choice") this.inputs.forEach((input) => (input.checked = input.value === known));
    else this.inputs[0].value = known;
  }

  focus() {
    this.inputs[0].focus();
  }
}
