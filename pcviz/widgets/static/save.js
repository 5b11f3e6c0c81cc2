// What is shown as files: the headline and the stages as one SVG or PNG picture, their tables as CSV.

// The HTML with its styles in an SVG's foreignObject, which browsers draw; nothing in it comes from elsewhere.
function pictureOf(shell) {
  const { root } = shell, box = root.getBoundingClientRect();
  const shown = [root.querySelector(".pcv-head"), root.querySelector(".pcv-stages")];
  const width = Math.round(box.width), height = Math.ceil(shown.reduce((sum, each) => sum + each.getBoundingClientRect().height, 2));
  const frame = root.cloneNode(false);
  frame.removeAttribute("id");
  frame.style.cssText = `width: ${width}px; height: ${height}px; margin: 0; ${labVariables(root)}`;
  frame.append(...shown.map(frozen));
  const style = document.createElement("style");
  style.textContent = ownStyles();
  const svg = pv_svg("svg", { width, height, viewBox: `0 0 ${width} ${height}` }), page = pv_svg("foreignObject", { width, height });
  page.append(style, frame);
  svg.append(page);
  return { width, height, text: new XMLSerializer().serializeToString(svg) };
}

// A copy that looks as the original does now: pixels of canvases, what stands in fields, nothing hidden.
function frozen(original) {
  const copy = original.cloneNode(true), pairs = (tag) => [...original.querySelectorAll(tag)].map((node, i) => [node, copy.querySelectorAll(tag)[i]]);
  const changes = [];
  for (const [node, twin] of pairs("canvas")) {
    const image = document.createElement("img");
    image.src = node.width && node.height ? node.toDataURL() : "data:,";
    for (const name of ["class", "style"]) if (node.hasAttribute(name)) image.setAttribute(name, node.getAttribute(name));
    image.style.width ||= `${node.clientWidth}px`;
    image.style.height ||= `${node.clientHeight}px`;
    changes.push([twin, image]);
  }
  for (const [node, twin] of pairs("select")) {
    const chosen = pv_el("span", node.className, node.selectedOptions[0]?.textContent ?? "");
    chosen.style.cssText = `display: inline-block; box-sizing: border-box; width: ${node.offsetWidth}px; height: ${node.offsetHeight}px; white-space: nowrap; overflow: hidden; text-overflow: ellipsis;`;
    chosen.hidden = node.hidden;
    changes.push([twin, chosen]);
  }
  for (const [node, twin] of pairs("input")) twin.setAttribute("value", node.value);
  for (const [twin, better] of changes) twin.replaceWith(better);
  copy.querySelectorAll("[hidden]").forEach((node) => node.remove());
  return copy;
}

function ownStyles() {
  const rules = [...document.styleSheets].flatMap((sheet) => {
    try {
      return [...sheet.cssRules];
    } catch {
      return []; // a style sheet from elsewhere keeps its rules to itself
    }
  });
  return rules.map((rule) => rule.cssText).filter((text) => /pcv|plotly/.test(text)).join("\n");
}

// JupyterLab's colours and fonts, which the styles use, as they are now.
function labVariables(root) {
  const names = new Set(ownStyles().match(/--jp-[\w-]+/g)), computed = getComputedStyle(root);
  return [...names].map((name) => [name, computed.getPropertyValue(name).trim()]).filter(([, value]) => value).map(([name, value]) => `${name}: ${value};`).join(" ");
}

async function pngOf({ width, height, text }, scale = 2) {
  const image = new Image();
  image.src = `data:image/svg+xml;charset=utf-8,${encodeURIComponent(text)}`;
  await image.decode();
  const canvas = Object.assign(document.createElement("canvas"), { width: width * scale, height: height * scale });
  canvas.getContext("2d").drawImage(image, 0, 0, canvas.width, canvas.height);
  return new Promise((resolve, reject) => canvas.toBlob((blob) => (blob ? resolve(blob) : reject(new Error("This browser draws no picture of the page: save it as SVG."))), "image/png"));
}

// Every table of the visible stages; numbers as they are where the page knows them (times in ms, sizes in bytes), else as written.
function tablesOf(shell) {
  const plain = (text) => (/^\d{1,3}(,\d{3})+$/.test(text) ? text.replaceAll(",", "") : text);
  const cell = (node) => [pv_csv(plain((node.dataset.value || node.querySelector("[data-value]")?.dataset.value || node.textContent).trim())), ...Array(node.colSpan - 1).fill("")];
  return shell.stages.filter((stage) => !stage.section.hidden).flatMap((stage) => [...stage.body.querySelectorAll("table")].map((table) => {
    const name = `${[stage.title, table.caption?.textContent].filter(Boolean).join(": ")} (ms, bytes)`;
    return [pv_csv(name), ...[...table.rows].map((row) => [...row.cells].flatMap(cell).join(","))].join("\n");
  })).join("\n\n");
}

async function saveShown(shell, kind) {
  const name = `pcviz-${shell.chosen.slice(0, shell.visibleCount).join("-")}`;
  if (kind === "csv") return pv_save_file(`${name}.csv`, "text/csv", `${tablesOf(shell)}\n`);
  const picture = pictureOf(shell);
  pv_save_file(`${name}.${kind}`, kind === "svg" ? "image/svg+xml" : "image/png", kind === "svg" ? picture.text : await pngOf(picture));
}
