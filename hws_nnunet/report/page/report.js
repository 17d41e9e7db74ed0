"use strict";
const all = (query, root = document) => [...root.querySelectorAll(query)];
const make = (tag, more) => Object.assign(document.createElement(tag), more);
const hidden = { set: new Set(), subgroup: new Set() };
const isHidden = (set, subgroup) => hidden.set.has(set) || hidden.subgroup.has(subgroup);

// Figures
function draw(element) {
  const colours = getComputedStyle(document.documentElement);
  const colour = (name) => colours.getPropertyValue(name).trim();
  const { data, layout } = DATA.plots[element.dataset.plot];
  const axis = { gridcolor: colour("--line"), zerolinecolor: colour("--soft"), linecolor: colour("--line") };
  const large = element.parentNode.classList.contains("large");
  const printing = document.documentElement.classList.contains("printing");
  const shown = data.map((trace) => ({ ...trace, visible: !isHidden(...trace.meta) }));
  // The first trace of a set that is shown stands for it in the legend.
  const named = new Set();
  for (const trace of shown.filter((trace) => trace.visible && trace.legendgroup)) {
    trace.showlegend = !named.has(trace.legendgroup);
    named.add(trace.legendgroup);
  }
  Plotly.react(element, shown, {
    ...layout,
    height: large ? Math.max(layout.height, innerHeight - 90) : layout.height,
    width: printing ? 680 : undefined, // of a sheet of paper
    paper_bgcolor: "rgba(0,0,0,0)",
    plot_bgcolor: "rgba(0,0,0,0)",
    font: { color: colour("--ink"), size: innerWidth < 700 ? 11 : 13 },
    hoverlabel: { bgcolor: colour("--head"), bordercolor: colour("--line"), font: { color: colour("--ink") } },
    xaxis: { ...axis, ...layout.xaxis },
    yaxis: { ...axis, ...layout.yaxis },
  }, {
    responsive: true,
    displaylogo: false,
    scrollZoom: false,
    displayModeBar: matchMedia("(hover: hover)").matches && "hover", // else it would stay, over the legend
  });
  if (!element.dataset.drawn) {
    element.dataset.drawn = "yes";
    element.on("plotly_click", ({ points }) => points[0].customdata !== undefined && pick(points[0].customdata));
  }
}
const plots = all(".plot");
const redraw = () => plots.filter((element) => element.dataset.drawn).forEach(draw);
const near = new IntersectionObserver((seen) => {
  for (const { target } of seen.filter((one) => one.isIntersecting)) {
    near.unobserve(target);
    draw(target);
  }
}, { rootMargin: "500px" });
for (const element of plots) {
  element.replaceChildren();
  const button = make("button", { type: "button", className: "enlarge", textContent: "enlarge" });
  button.onclick = () => enlarge(element, !element.parentNode.classList.contains("large"));
  element.before(button);
  near.observe(element);
}
function enlarge(element, large) {
  element.parentNode.classList.toggle("large", large);
  element.previousSibling.textContent = large ? "close" : "enlarge";
  draw(element);
}
document.addEventListener("keydown", (event) => {
  if (event.key === "Escape") all("figure.large .plot").forEach((element) => enlarge(element, false));
});
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);
addEventListener("beforeprint", () => {
  document.documentElement.classList.add("printing");
  all("section:not(.cases) details").forEach((details) => { details.open = true; });
  plots.forEach(draw);
});
addEventListener("afterprint", () => {
  document.documentElement.classList.remove("printing");
  redraw();
});

// Tables
function refresh(table) {
  const words = table.words.value.toLowerCase().split(/\s+/).filter(Boolean);
  for (const row of table.tBodies[0].rows) {
    const cell = (name) => row.cells[table.places[name]]?.textContent;
    const text = row.textContent.toLowerCase();
    const found = table.only === undefined ? words.every((word) => text.includes(word)) : cell("case") === table.only;
    row.hidden = !found || isHidden(cell("set"), cell("subgroup"));
  }
}
function sort(table, head) {
  const down = head.ariaSort === "ascending";
  for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
  head.ariaSort = down ? "descending" : "ascending";
  const isNumber = head.classList.contains("number");
  const key = (row) => {
    const text = row.cells[head.cellIndex].textContent;
    return isNumber ? parseFloat(text.replace("< ", "")) : text.toLowerCase();
  };
  const order = (a, b) => {
    if (Number.isNaN(a) || Number.isNaN(b)) return Number.isNaN(a) - Number.isNaN(b);
    return (down ? -1 : 1) * (isNumber ? a - b : a.localeCompare(b, undefined, { numeric: true }));
  };
  const rows = [...table.tBodies[0].rows].map((row) => [key(row), row]).sort(([a], [b]) => order(a, b));
  table.tBodies[0].append(...rows.map(([, row]) => row));
}
const cutOff = new ResizeObserver((seen) => {
  for (const { target } of seen) target.classList.toggle("cut", target.scrollWidth > target.clientWidth + 1);
});
for (const table of all("table")) {
  const heads = [...table.tHead.rows[0].cells];
  table.places = Object.fromEntries(heads.map((head) => [head.textContent, head.cellIndex]));
  for (const head of heads) {
    const button = make("button", { type: "button", textContent: head.textContent, title: "sort" });
    button.onclick = () => sort(table, head);
    head.replaceChildren(button);
  }
  table.words = make("input", { type: "search", placeholder: "filter rows", ariaLabel: "filter rows" });
  table.words.oninput = () => { table.only = undefined; refresh(table); };
  if (table.tBodies[0].rows.length > 4) table.parentNode.before(table.words);
  if ("case" in table.places) {
    for (const row of table.tBodies[0].rows) {
      const cell = row.cells[table.places.case];
      const more = DATA.galleries[cell.textContent] ? { title: "with pictures" } : {};
      cell.replaceChildren(make("button", { type: "button", className: "case", textContent: cell.textContent, ...more }));
    }
  }
  cutOff.observe(table.parentNode);
}

// Cases
const section = document.querySelector(".cases");
const pictures = make("div", { id: "pictures" });
section.append(pictures);
function pick(name) {
  const table = section.querySelector("table");
  all("figure.large .plot").forEach((element) => enlarge(element, false));
  section.querySelector("details").open = true;
  table.words.value = name;
  table.only = name;
  refresh(table);
  pictures.replaceChildren(...(DATA.galleries[name] ?? []).map(({ title, page, picture }) => {
    const figure = make("figure");
    const link = make("a", { href: page, textContent: `${title}: ${name}` });
    const image = make("img", { src: picture, alt: `slices of ${name}` });
    image.onerror = () => image.replaceWith(` (the picture is no longer at ${picture})`);
    figure.append(link, image);
    return figure;
  }));
  section.scrollIntoView();
  table.words.focus({ preventScroll: true });
}
document.addEventListener("click", ({ target }) => target.matches("button.case") && pick(target.textContent));

// What is shown
const form = document.querySelector("#show");
form.hidden = false;
form.addEventListener("change", ({ target }) => {
  hidden[target.dataset.kind][target.checked ? "delete" : "add"](target.value);
  redraw();
  all("table").forEach(refresh);
});
