
"use strict";
(() => {
  const root = document.documentElement;
  const all = (selector, within = document) => [...within.querySelectorAll(selector)];
  const made = (tag, given = {}, ...children) => {
    const one = Object.assign(document.createElement(tag), given);
    one.append(...children);
    return one;
  };

  // Where storage is blocked even naming it throws.
  const stored = (value) => {
    try {
      if (value === undefined) return localStorage.getItem("theme");
      localStorage.setItem("theme", value);
    } catch (error) {
      if (!(error instanceof DOMException)) throw error;
    }
    return null;
  };

  const theme = stored();
  if (theme === "light" || theme === "dark") root.dataset.theme = theme;
  root.classList.add("scripted");

  function themes(tools) {
    const dark = () =>
      (root.dataset.theme || (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light")) === "dark";
    const label = made("span");
    const button = made("button", { type: "button", className: "theme" }, label);
    const say = () => { label.textContent = dark() ? "Light colours" : "Dark colours"; };
    button.addEventListener("click", () => {
      root.dataset.theme = dark() ? "light" : "dark";
      stored(root.dataset.theme);
      say();
    });
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", say);
    say();
    tools.append(button);
  }

  function unfold(target) {
    for (let one = target; one; one = one.parentElement) if (one.tagName === "DETAILS") one.open = true;
    const own = target.querySelector(":scope.folded > details");
    if (own) own.open = true;
  }

  function contents(nav, tools) {
    const links = all("a", nav);
    const label = made("span", { textContent: "Contents" });
    const menu = made("button", { type: "button", className: "menu" }, label);
    const list = nav.querySelector("ol");
    list.id = "contents";
    menu.setAttribute("aria-controls", list.id);
    const toggle = (open) => {
      nav.classList.toggle("open", open);
      menu.setAttribute("aria-expanded", String(open));
    };
    toggle(false);
    menu.addEventListener("click", () => toggle(!nav.classList.contains("open")));
    nav.parentElement.addEventListener("keydown", (event) => {
      if (event.key !== "Escape" || !nav.classList.contains("open")) return;
      toggle(false);
      menu.focus();
    });
    tools.prepend(menu);
    const targets = links.map((link) => document.getElementById(link.hash.slice(1)));
    nav.addEventListener("click", (event) => {
      const at = links.indexOf(event.target);
      if (at < 0) return;
      unfold(targets[at]);
      toggle(false);
    });
    const seen = new Set();
    const observer = new IntersectionObserver((entries) => {
      for (const one of entries) seen[one.isIntersecting ? "add" : "delete"](one.target);
      const at = targets.findIndex((one) => seen.has(one));
      if (at < 0) return;
      links.forEach((link, k) => {
        if (k === at) link.setAttribute("aria-current", "true");
        else link.removeAttribute("aria-current");
      });
      label.textContent = links[at].textContent;
    }, { rootMargin: "-15% 0px -70% 0px" });
    targets.forEach((one) => observer.observe(one));
  }

  function follow() {
    const target = location.hash && document.getElementById(decodeURIComponent(location.hash.slice(1)));
    if (!target) return;
    unfold(target);
    target.scrollIntoView();
  }

  function printing() {
    let closed = [];
    const open = () => {
      const now = all("details:not([open])");
      closed = closed.concat(now);
      now.forEach((one) => { one.open = true; });
    };
    const close = () => {
      closed.forEach((one) => { one.open = false; });
      closed = [];
    };
    addEventListener("beforeprint", open);
    addEventListener("afterprint", close);
    matchMedia("print").addEventListener("change", (event) => (event.matches ? open() : close()));
  }

  // What a cell sorts by: a number where its text begins with one, else the text; null sorts last.
  function worth(cell) {
    const text = (cell.dataset.value ?? cell.textContent).trim();
    if (text === "" || text === "–") return null;
    const plain = text.replace(/^[<>≈±~]\s*/, "").replace(/−/g, "-").replace(/,(?=\d{3})/g, "");
    const found = /^[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?/i.exec(plain);
    if (found) return Number(found[0]);
    if (/^[+-]?∞/.test(plain)) return plain.startsWith("-") ? -Infinity : Infinity;
    return text;
  }

  const collator = new Intl.Collator(undefined, { numeric: true });

  function sorting(table) {
    const body = table.tBodies[0];
    if (!body || body.rows.length < 3) return;
    const heads = [...table.tHead.rows[0].cells];
    const first = [...body.rows];
    heads.forEach((head, at) => {
      const button = made("button", { type: "button" }, ...head.childNodes);
      head.append(button);
      button.addEventListener("click", () => {
        const before = head.getAttribute("aria-sort");
        heads.forEach((one) => one.removeAttribute("aria-sort"));
        let rows = first;
        if (before !== "descending") {
          const sign = before === "ascending" ? -1 : 1;
          head.setAttribute("aria-sort", sign > 0 ? "ascending" : "descending");
          const text = head.classList.contains("number") ? worth : (cell) => cell.textContent.trim();
          const keys = new Map(first.map((row) => [row, text(row.cells[at])]));
          const numbers = [...keys.values()].every((one) => one === null || typeof one === "number");
          rows = first.toSorted((left, right) => {
            const [a, b] = [keys.get(left), keys.get(right)];
            if (a === null || b === null) return (a === null) - (b === null);
            return sign * (numbers ? Math.sign(a - b) || 0 : collator.compare(a, b));
          });
        }
        body.append(...rows);
      });
    });
  }

  function filtering(box) {
    const table = box.querySelector("table");
    const rows = [...table.tBodies[0].rows];
    const texts = rows.map((row) => all("[title]", row).reduce((text, one) => `${text} ${one.title}`, row.textContent).toLowerCase());
    const input = made("input", { type: "search" });
    const count = made("span", { textContent: `${rows.length} rows` });
    count.setAttribute("role", "status");
    input.addEventListener("input", () => {
      const words = input.value.toLowerCase().split(/\s+/).filter(Boolean);
      let shown = 0;
      rows.forEach((row, k) => {
        row.hidden = !words.every((word) => texts[k].includes(word));
        shown += !row.hidden;
      });
      count.textContent = words.length ? `${shown} of ${rows.length} rows` : `${rows.length} rows`;
    });
    box.prepend(made("div", { className: "filter" }, made("label", {}, "Show rows with "), count));
    box.querySelector(".filter label").append(input);
  }

  // Levels of groups: what stands for one is lit wherever it is, and its text shown.
  function hovering() {
    const texts = new Map();
    for (const one of all("script.levels")) texts.set(one.dataset.group, JSON.parse(one.textContent));
    const figures = all("svg[data-series]").filter((one) => texts.has(one.dataset.group));
    const tip = made("div", { className: "tip" });
    tip.setAttribute("role", "status");
    document.body.append(tip);

    const children = new Map();
    const marks = (svg) => {
      if (!children.has(svg)) {
        const found = [];
        for (const [id, numbers] of Object.entries(JSON.parse(svg.dataset.series))) {
          const series = document.getElementById(id);
          if (series) [...series.children].forEach((one, k) => found.push([one, numbers[k]]));
        }
        children.set(svg, found);
      }
      return children.get(svg);
    };
    const standing = new Map();
    const stand = (group) => {
      if (!standing.has(group)) {
        const found = new Map();
        const put = (one, level) => {
          if (!found.has(level)) found.set(level, []);
          found.get(level).push(one);
        };
        for (const svg of figures) if (svg.dataset.group === group) marks(svg).forEach(([one, level]) => put(one, level));
        for (const row of all("tr[data-level]")) if (row.dataset.group === group) put(row, Number(row.dataset.level));
        standing.set(group, found);
      }
      return standing.get(group);
    };

    let lit = [];
    let shown = null;
    const dim = () => {
      lit.forEach((one) => one.classList.remove("lit"));
      [lit, shown] = [[], null];
      tip.textContent = "";
    };
    const light = (group, level, x, y) => {
      if (!shown || shown.group !== group || shown.level !== level) {
        dim();
        shown = { group, level };
        lit = stand(group).get(level) || [];
        lit.forEach((one) => one.classList.add("lit"));
        tip.textContent = texts.get(group)[level] ?? "";
      }
      const { width, height } = tip.getBoundingClientRect();
      const left = x + 14 + width > innerWidth - 8 ? x - 14 - width : x + 14;
      const top = y + 18 + height > innerHeight - 8 ? y - 12 - height : y + 18;
      tip.style.left = `${Math.max(8, left)}px`;
      tip.style.top = `${Math.max(8, top)}px`;
    };

    // A mark as a line of points on the screen, from the corner of its figure: a marker is its
    // middle, a straight line its ends, a curve some points of it.
    const lines = new Map();
    const drawn = (svg) => {
      const frame = svg.getBoundingClientRect();
      const known = lines.get(svg);
      if (known && known.width === frame.width) return known.found;
      const found = marks(svg).map(([one, level]) => {
        let points;
        if (one instanceof SVGGeometryElement) {
          const matrix = one.getScreenCTM();
          const length = one.getTotalLength();
          const pieces = (one.getAttribute("d") || "").match(/[MLCQ]/g)?.length > 2 ? 8 : 1;
          points = Array.from({ length: pieces + 1 }, (_, k) => {
            const at = one.getPointAtLength((k / pieces) * length).matrixTransform(matrix);
            return [at.x - frame.left, at.y - frame.top];
          });
        } else {
          const { left, top, width, height } = one.getBoundingClientRect();
          points = [[left + width / 2 - frame.left, top + height / 2 - frame.top]];
        }
        return { level, points };
      });
      lines.set(svg, { width: frame.width, found });
      return found;
    };
    const distance = (points, x, y) => {
      let least = Infinity;
      points.forEach(([x0, y0], k) => {
        const [x1, y1] = points[k + 1] || [x0, y0];
        const squared = (x1 - x0) ** 2 + (y1 - y0) ** 2;
        const share = squared && Math.max(0, Math.min(1, ((x - x0) * (x1 - x0) + (y - y0) * (y1 - y0)) / squared));
        least = Math.min(least, Math.hypot(x - x0 - share * (x1 - x0), y - y0 - share * (y1 - y0)));
      });
      return least;
    };
    const nearest = (svg, x, y) => {
      let [level, least] = [null, 40];
      for (const one of drawn(svg)) {
        const far = distance(one.points, x, y);
        if (far < least) [level, least] = [one.level, far];
      }
      return level;
    };

    for (const svg of figures) {
      const { group } = svg.dataset;
      let waiting = 0;
      const point = (event) => {
        cancelAnimationFrame(waiting);
        waiting = requestAnimationFrame(() => {
          const frame = svg.getBoundingClientRect();
          const level = nearest(svg, event.clientX - frame.left, event.clientY - frame.top);
          if (level === null) dim();
          else light(group, level, event.clientX, event.clientY);
        });
      };
      const leave = () => { cancelAnimationFrame(waiting); dim(); };
      svg.addEventListener("pointermove", point);
      svg.addEventListener("pointerdown", point);
      svg.addEventListener("pointerleave", (event) => { if (event.pointerType === "mouse") leave(); });
      svg.setAttribute("tabindex", "0");
      svg.setAttribute("aria-keyshortcuts", "ArrowLeft ArrowRight Home End Escape");
      svg.addEventListener("blur", leave);
      svg.addEventListener("keydown", (event) => {
        const order = [...new Set(marks(svg).map(([, level]) => level))];
        const now = shown && shown.group === group ? order.indexOf(shown.level) : -1;
        const to = {
          ArrowRight: now + 1, ArrowDown: now + 1, ArrowLeft: now - 1, ArrowUp: now - 1, Home: 0, End: order.length - 1,
        }[event.key];
        if (event.key === "Escape") dim();
        if (to === undefined) return;
        event.preventDefault();
        const level = order[Math.max(0, Math.min(order.length - 1, to))];
        const frame = svg.getBoundingClientRect();
        const [x, y] = drawn(svg).find((one) => one.level === level).points[0];
        light(group, level, frame.left + x, frame.top + y);
      });
    }
    addEventListener("pointerdown", (event) => { if (!event.target.closest("svg[data-series], tr[data-level]")) dim(); });
    document.addEventListener("pointerover", (event) => {
      const row = event.target.closest?.("tr[data-level]");
      if (row && texts.has(row.dataset.group)) light(row.dataset.group, Number(row.dataset.level), event.clientX, event.clientY);
      else if (!event.target.closest?.("svg[data-series]") && event.pointerType === "mouse") dim();
    });
  }

  // Sections far below are drawn one after the other: at once they would hold up the page, and never
  // they would be blank in a picture of the whole of it.
  function drawing() {
    const waiting = all("main > section");
    const next = () => {
      const one = waiting.shift();
      if (!one) return;
      one.style.contentVisibility = "visible";
      requestIdleCallback(next, { timeout: 500 });
    };
    (window.requestIdleCallback ??= (call) => setTimeout(call, 50));
    requestIdleCallback(next, { timeout: 500 });
  }

  document.addEventListener("DOMContentLoaded", () => {
    const frame = document.querySelector(".frame");
    const nav = document.querySelector("nav.contents");
    const tools = made("div", { className: "tools" });
    themes(tools);
    frame.prepend(tools);
    if (nav) contents(nav, tools);
    all(".table table").forEach(sorting);
    all(".table.filtered").forEach(filtering);
    hovering();
    printing();
    follow();
    addEventListener("load", drawing);
    addEventListener("hashchange", follow);
  });
})();
