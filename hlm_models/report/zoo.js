"use strict";
(() => {
  const all = (selector, within = document) => [...within.querySelectorAll(selector)];

  // Models whose marks are among those pressed, of every kind of which any is.
  function choosing(box) {
    const models = all("[data-model]").map((one) => ({
      one,
      text: `${one.textContent} ${all("[title]", one).map((part) => part.title).join(" ")}`.toLowerCase(),
    }));
    const chips = all(".chip", box);
    const input = box.querySelector("input");
    const count = box.querySelector(".count");
    const names = new Set(models.map(({ one }) => one.dataset.model));

    const choose = () => {
      const wanted = new Map();
      for (const chip of chips) {
        if (chip.getAttribute("aria-pressed") !== "true") continue;
        const { key, value } = chip.dataset;
        wanted.set(key, [...(wanted.get(key) ?? []), value]);
      }
      const words = input.value.toLowerCase().split(/\s+/).filter(Boolean);
      const marked = new Set();
      for (const { one, text } of models) {
        const fits = [...wanted].every(([key, values]) => {
          const own = one.dataset[key].split("|");
          return values.some((value) => own.includes(value));
        });
        if (fits && words.every((word) => text.includes(word))) marked.add(one.dataset.model);
      }
      // A card has more text than its row: what one of them has stands for both.
      for (const { one } of models) one.hidden = !marked.has(one.dataset.model);
      const any = wanted.size || words.length;
      count.textContent = any ? `${marked.size} of ${names.size} models` : "";
      const query = new URLSearchParams();
      for (const [key, values] of wanted) for (const value of values) query.append(key, value);
      if (words.length) query.set("words", input.value);
      const text = query.toString();
      history.replaceState(null, "", `${location.pathname}${text ? `?${text}` : ""}${location.hash}`);
    };

    const press = (chip, on) => chip.setAttribute("aria-pressed", String(on));
    for (const chip of chips) {
      chip.addEventListener("click", () => {
        press(chip, chip.getAttribute("aria-pressed") !== "true");
        choose();
      });
    }
    input.addEventListener("input", choose);
    box.querySelector(".all").addEventListener("click", () => {
      chips.forEach((chip) => press(chip, false));
      input.value = "";
      choose();
    });
    const asked = new URLSearchParams(location.search);
    for (const chip of chips) press(chip, asked.getAll(chip.dataset.key).includes(chip.dataset.value));
    input.value = asked.get("words") ?? "";
    box.hidden = false;
    choose();
  }

  function copying(box) {
    const code = box.querySelector("code");
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = "Copy";
    button.addEventListener("click", async () => {
      const text = code.textContent;
      try {
        await navigator.clipboard.writeText(text);
        button.textContent = "Copied";
      } catch (error) {
        if (!(error instanceof DOMException || error instanceof TypeError)) throw error;
        getSelection().selectAllChildren(code);
        button.textContent = "Selected";
      }
      setTimeout(() => { button.textContent = "Copy"; }, 2000);
    });
    box.append(button);
  }

  document.addEventListener("DOMContentLoaded", () => {
    all(".chooser").forEach(choosing);
    all("pre.copy").forEach(copying);
  });
})();
