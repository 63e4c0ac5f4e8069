// Dialogs: modal <dialog> elements, which keep focus inside, close with Escape and give
// focus back to where it was.

import { h, text, hidden } from "./dom.js";

let last = 0; // for ids

// open shows a dialog with a title, content and buttons. It answers the element; it is
// removed when it closes.
function open(title, classes, content) {
  const id = `dialog-${++last}`;
  const dialog = h("dialog", { class: classes, "aria-labelledby": id }, h("h2", { id }, title), ...content);
  dialog.addEventListener("close", () => dialog.remove());
  document.body.append(dialog);
  dialog.showModal();
  return dialog;
}

// confirm asks before something is done, and does it: act is called with the form's
// values and may fail, which is told in the dialog, and the person may try again or
// leave. It answers whether it was done.
//
//   title, words   what will happen: a line and paragraphs
//   button         what the button that does it says
//   danger         whether it cuts or removes something
//   fields         labelled controls to show above the buttons
export function confirm({ title, words = [], button, danger = false, fields = [], act }) {
  return new Promise((resolve) => {
    let done = false;
    const error = h("p", { class: "problem", role: "alert", hidden: true });
    const go = h("button", { class: danger ? "danger" : "prime" }, button);
    const leave = h("button", { type: "button", onclick: () => dialog.close() }, "Cancel");
    const submit = async (event) => {
      event.preventDefault();
      go.disabled = true;
      hidden(error, true);
      try {
        await act(Object.fromEntries(new FormData(form)));
        done = true;
        dialog.close();
      } catch (problem) {
        text(error, problem.message);
        hidden(error, false);
      }
      go.disabled = false;
    };
    const form = h("form", { onsubmit: submit }, ...fields, error, h("div", { class: "buttons" }, leave, go));
    const dialog = open(title, "confirm", [...words.map((w) => (typeof w === "string" ? h("p", {}, w) : w)), form]);
    if (fields.length === 0) leave.focus(); // Enter by reflex must not do it
    dialog.addEventListener("close", () => resolve(done));
  });
}

// askToken asks for the API's token until one is given; there is nothing to cancel to.
export function askToken(words) {
  return new Promise((resolve) => {
    const input = h("input", { type: "password", name: "token", required: true, autocomplete: "off", spellcheck: "false" });
    const submit = (event) => {
      event.preventDefault();
      const value = input.value.trim();
      if (value === "") return;
      dialog.close();
      resolve(value);
    };
    const form = h("form", { onsubmit: submit }, h("label", {}, "Token ", input), h("div", { class: "buttons" }, h("button", { class: "prime" }, "Continue")));
    const dialog = open("A token, please", "confirm", [h("p", {}, words), form]);
    dialog.addEventListener("cancel", (event) => event.preventDefault());
    input.focus();
  });
}

// drawer opens a panel at the side of the page.
export function drawer(title, ...content) {
  const close = h("button", { type: "button", class: "quiet close", onclick: () => dialog.close() }, "Close");
  const dialog = open(title, "drawer", [close, ...content]);
  dialog.addEventListener("click", (event) => {
    if (event.target === dialog) dialog.close(); // beside the panel
  });
  return dialog;
}
