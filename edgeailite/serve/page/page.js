// The page: a picture goes to /predict as it is, the label map comes back and is coloured here. Names of files and
// classes are only ever set as text.

import { cameraHere, takePicture } from "./camera.js";
import { prepare, readLabels } from "./picture.js";

const by = (id) => document.getElementById(id);
const show = (id, visible) => { by(id).hidden = !visible; };

let limits = { max_pixels: 16e6, max_bytes: 16e6 };
let models = [];
let token = "";
let last = null;  // {file, name}: what was asked for
let shown = null;  // {bitmap, width, height, labels, counts, blob}
let hidden = new Set();  // class indices
let running = null;  // AbortController

// --- what the service serves

async function ask(path, options = {}) {
  const headers = { ...options.headers, ...(token ? { Authorization: `Bearer ${token}` } : {}) };
  const answer = await fetch(path, { ...options, headers });
  if (answer.status === 401) {
    await unlock();
    return ask(path, options);
  }
  return answer;
}

function unlock() {
  const dialog = by("locked");
  by("token").value = "";
  dialog.showModal();
  return new Promise((done) => {
    dialog.oncancel = (event) => event.preventDefault();
    by("unlock").onsubmit = () => { token = by("token").value.trim(); done(); };
  });
}

async function loadModels() {
  for (;;) {
    const answer = await ask("models").catch(() => null);
    if (answer && answer.ok) {
      const known = await answer.json();
      models = known.models;
      limits = known;
      break;
    }
    say("The service is starting");
    await new Promise((done) => setTimeout(done, 1000));
  }
  const options = models.map((model) => Object.assign(document.createElement("option"), { textContent: model.name }));
  by("model").replaceChildren(...options);
  by("model").disabled = models.length < 2;
  modelChanged();
  say("Ready");
}

// What the service found when it started, in a word and a sentence; a run folder has no proof to show.
const VERDICTS = { proven: "✓ proven", partly: "proven in part", departs: "departs from its contract", unproven: "not proven" };

const model = () => models[by("model").selectedIndex];

function modelChanged() {
  const { arithmetic, input, data, classes, proof } = model();
  by("facts").textContent = `${arithmetic}, ${input.width} × ${input.height}, ${classes.length} classes of ${data}`;
  by("verdict").textContent = proof ? VERDICTS[proof.state] : "";
  by("verdict").dataset.state = proof ? proof.state : "";
  by("proof").textContent = proof ? `${proof.text[0].toUpperCase()}${proof.text.slice(1)}.` : "";
  show("verdict", Boolean(proof));
  show("proof", Boolean(proof));
  hidden = new Set(classes.filter((each) => each.background).map((each) => each.index));  // ticked, they are tinted
  makeLegend(classes.map(() => 0), false);
}

// --- a picture

async function label(file, name) {
  if (!models.length) { fail("The model is still loading; try again in a moment.", true); return; }
  last = { file, name };
  if (running) running.abort();
  const mine = new AbortController();
  running = mine;
  fail("");
  say("Labelling");
  show("busy", true);
  try {
    const picture = await prepare(file, limits).catch(() => { throw new Error("This browser cannot show this file; choose a JPEG, PNG or WebP picture."); });
    const began = performance.now();
    const query = new URLSearchParams({ output: "labels", model: model().name });
    const answer = await ask(`predict?${query}`, {
      method: "POST", body: picture.blob, signal: mine.signal, headers: { "Content-Type": "application/octet-stream" },
    });
    if (!answer.ok) throw new Error(await reasonOf(answer));
    const blob = await answer.blob();
    const milliseconds = performance.now() - began;
    const found = await readLabels(await blob.arrayBuffer());
    if (mine !== running) return;
    present({ ...found, bitmap: picture.bitmap, blob }, name, picture.note);
    say(`Labelled in ${Math.round(milliseconds)} ms${networkTime(answer)}`);
  } catch (error) {
    if (error.name === "AbortError" || mine !== running) return;
    say("No result");
    fail(error instanceof TypeError ? "The service cannot be reached." : error.message, true);
  } finally {
    if (mine === running) show("busy", false);
  }
}

async function reasonOf(answer) {
  const problem = await answer.json().catch(() => ({}));
  const wait = answer.headers.get("Retry-After");
  return `${problem.message || `The service answered ${answer.status}`}${wait ? ` (in ${wait} s)` : ""}`;
}

function networkTime(answer) {
  const found = /network;dur=([\d.]+)/.exec(answer.headers.get("Server-Timing") || "");
  return found ? ` (network\u00a0${Math.round(Number(found[1]))}\u00a0ms)` : "";
}

function present(result, name, note) {
  const counts = model().classes.map(() => 0);
  for (const index of result.labels) counts[index]++;
  shown = { ...result, counts };
  for (const id of ["picture", "overlay"]) Object.assign(by(id), { width: result.width, height: result.height });
  by("picture").getContext("2d").drawImage(result.bitmap, 0, 0, result.width, result.height);
  by("caption").textContent = [name, `${result.width} × ${result.height}`, note].filter(Boolean).join(" · ");
  by("picture").setAttribute("aria-label", described(name, counts, result.labels.length));
  by("stage").classList.remove("empty");
  show("drop", false);
  show("view", true);
  show("controls", true);
  show("saving", true);
  if (by("save-labels").href) URL.revokeObjectURL(by("save-labels").href);
  by("save-labels").href = URL.createObjectURL(result.blob);
  makeLegend(counts, true);
  paint();
}

function described(name, counts, total) {
  const largest = counts.map((count, index) => [count, index]).sort((a, b) => b[0] - a[0]).slice(0, 3).filter(([count]) => count);
  return `${name}: ${largest.map(([count, index]) => `${model().classes[index].name} ${per(count, total)}`).join(", ")}`;
}

function paint() {
  if (!shown) return;
  const bytes = new Uint8ClampedArray(4 * 256);
  model().classes.forEach(({ color }, index) => { if (!hidden.has(index)) bytes.set([...color, 255], 4 * index); });
  const colors = new Uint32Array(bytes.buffer);
  const image = new ImageData(shown.width, shown.height);
  const pixels = new Uint32Array(image.data.buffer);
  for (let at = 0; at < pixels.length; at++) pixels[at] = colors[shown.labels[at]];
  by("overlay").getContext("2d").putImageData(image, 0, 0);
}

// --- legend

const per = (count, total) => { const share = (100 * count) / total; return `${share > 0 && share < 0.1 ? "< 0.1" : share.toFixed(1)} %`; };

function makeLegend(counts, withShares) {
  const total = counts.reduce((sum, count) => sum + count, 0) || 1;
  const order = counts.map((_, index) => index);
  if (withShares) order.sort((a, b) => counts[b] - counts[a]);
  by("legend").replaceChildren(...order.map((index) => row(index, counts[index], total, withShares)));
  by("found").textContent = withShares ? `${counts.filter(Boolean).length} of ${counts.length} seen` : "";
  show("classes", withShares);
}

function row(index, count, total, withShares) {
  const { name, color } = model().classes[index];
  const make = (tag, kind, text = "") => Object.assign(document.createElement(tag), { className: kind, textContent: text });
  const box = Object.assign(document.createElement("input"), { type: "checkbox", checked: !hidden.has(index) });
  box.dataset.index = index;
  const swatch = make("span", "swatch");
  swatch.style.backgroundColor = `rgb(${color.join(" ")})`;
  const line = document.createElement("label");
  line.append(box, swatch, make("span", "name", name), make("span", "share", withShares ? per(count, total) : ""));
  if (withShares && count) {
    const bar = make("span", "bar"), part = make("span", "");
    part.style.width = `${(100 * count) / total}%`;
    bar.append(part);
    line.append(bar);
  }
  const item = make("li", withShares && !count ? "absent" : "");
  item.append(line);
  return item;
}

function toggleAll(visible) {
  hidden = new Set(visible ? [] : model().classes.keys());
  for (const box of by("legend").querySelectorAll("input")) box.checked = visible;
  paint();
}

// --- saying

function say(text) { by("status").textContent = text; }

function fail(text, retry = false) {
  by("reason").textContent = text;
  show("again", retry && Boolean(last));
  show("error", Boolean(text));
}

// --- what a person does

const first = (files) => [...files].find((file) => file) || null;

function taken(file, name) { if (file) label(file, name || file.name || "picture"); }

by("choose").onclick = () => by("file").click();
for (const id of ["file", "capture"]) by(id).onchange = (event) => { taken(first(event.target.files)); event.target.value = ""; };
by("shoot").onclick = async () => {
  if (!cameraHere()) { by("capture").click(); return; }
  try {
    taken(await takePicture(), "camera");
  } catch (error) {
    fail(error.name === "NotAllowedError" ? "The browser was not allowed to use the camera." : "No camera was found.");
  }
};
by("again").onclick = () => last && label(last.file, last.name);
by("model").onchange = () => { modelChanged(); if (last) label(last.file, last.name); };
by("opacity").oninput = (event) => {
  by("overlay").style.opacity = event.target.value / 100;
  by("percent").textContent = `${event.target.value} %`;
};
by("legend").onchange = (event) => {
  const index = Number(event.target.dataset.index);
  if (event.target.checked) hidden.delete(index); else hidden.add(index);
  paint();
};
by("all").onclick = () => toggleAll(true);
by("none").onclick = () => toggleAll(false);
by("save-overlay").onclick = () => {
  const canvas = Object.assign(document.createElement("canvas"), { width: shown.width, height: shown.height });
  const context = canvas.getContext("2d");
  context.drawImage(by("picture"), 0, 0);
  context.globalAlpha = by("opacity").value / 100;
  context.drawImage(by("overlay"), 0, 0);
  canvas.toBlob((blob) => {
    const link = Object.assign(document.createElement("a"), { href: URL.createObjectURL(blob), download: "overlay.png" });
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
  });
};
by("frame").onpointermove = (event) => {
  if (!shown) return;
  const box = by("picture").getBoundingClientRect();
  const x = Math.floor(((event.clientX - box.left) / box.width) * shown.width);
  const y = Math.floor(((event.clientY - box.top) / box.height) * shown.height);
  const inside = x >= 0 && y >= 0 && x < shown.width && y < shown.height;
  by("under").textContent = inside ? `${model().classes[shown.labels[y * shown.width + x]].name} at ${x}, ${y}` : "";
};
by("frame").onpointerleave = () => { by("under").textContent = ""; };

document.addEventListener("dragover", (event) => { event.preventDefault(); by("stage").classList.add("over"); });
document.addEventListener("dragleave", (event) => { if (!event.relatedTarget) by("stage").classList.remove("over"); });
document.addEventListener("drop", (event) => {
  event.preventDefault();
  by("stage").classList.remove("over");
  const file = first(event.dataTransfer.files);
  if (file) taken(file); else fail("That was no file; drop a picture from a folder.");
});
document.addEventListener("paste", (event) => taken(first(event.clipboardData.files), "pasted picture"));

loadModels();
