// Zoom and pan of the DAG. Zoom changes the geometry, not the pixels: text keeps its size, and more labels find room.

const DAG_MOST_ZOOM = 40;

function dag_zoom_none() {
  return { k: 1, x: 0, y: 0 };
}

// By `factor` around a point of the drawing, in pixels from its upper left corner (default: its middle).
function dag_zoom_by(view, factor, px, py) {
  const { wide, high } = view.geometry, zoom = view.zoom, k = pv_clamp(zoom.k * factor, 1, DAG_MOST_ZOOM);
  const cx = px ?? wide / 2, cy = py ?? high / 2;
  dag_zoom_to(view, { k, x: cx - ((cx - zoom.x) * k) / zoom.k, y: cy - ((cy - zoom.y) * k) / zoom.k });
}

function dag_zoom_to(view, { k, x, y }) {
  const { wide, high } = view.geometry;
  view.zoom = { k, x: pv_clamp(x, wide * (1 - k), 0), y: pv_clamp(y, high * (1 - k), 0) };
  if (!view.zoomed) view.zoomed = requestAnimationFrame(() => {
    view.zoomed = 0;
    if (view.host.isConnected) draw_dag(view.frame.el, view.scene, view.frame.store);
  });
}

function dag_pan(view, dx, dy) {
  dag_zoom_to(view, { k: view.zoom.k, x: view.zoom.x + dx, y: view.zoom.y + dy });
}

// True when the key was one of zoom's: + - 0, and Shift with the arrows.
function dag_zoom_key(view, event) {
  if (event.ctrlKey || event.metaKey || event.altKey) return false;
  const move = event.shiftKey && { ArrowLeft: [60, 0], ArrowRight: [-60, 0], ArrowUp: [0, 60], ArrowDown: [0, -60] }[event.key];
  if (event.key === "+" || event.key === "=") dag_zoom_by(view, 1.5);
  else if (event.key === "-" || event.key === "_") dag_zoom_by(view, 1 / 1.5);
  else if (event.key === "0") dag_zoom_to(view, dag_zoom_none());
  else if (move) dag_pan(view, ...move);
  else return false;
  event.preventDefault();
  return true;
}

// The wheel zooms with Ctrl, or while the drawing has the focus; a notebook scrolls otherwise.
function dag_wheel(view, event) {
  if (!event.ctrlKey && !view.svg.contains(document.activeElement)) return;
  event.preventDefault();
  const box = view.host.getBoundingClientRect(), { gutter, head } = view.geometry;
  dag_zoom_by(view, Math.exp(-event.deltaY * (event.deltaMode ? 0.05 : 0.002)), event.clientX - box.left - gutter, event.clientY - box.top - head);
}

function dag_drag(view) {
  let from = null;
  view.svg.addEventListener("pointerdown", (event) => {
    view.dragged = false;
    if (event.button === 0 && view.zoom.k > 1) from = [event.clientX, event.clientY];
  });
  view.svg.addEventListener("pointermove", (event) => {
    if (!from || !event.buttons) return void (from = null);
    const [dx, dy] = [event.clientX - from[0], event.clientY - from[1]];
    if (!view.dragged && Math.hypot(dx, dy) < 5) return;
    if (!view.dragged) view.svg.setPointerCapture(event.pointerId);
    view.dragged = true;
    from = [event.clientX, event.clientY];
    dag_pan(view, dx, dy);
  });
  view.svg.addEventListener("pointerup", () => (from = null));
}

function dag_zoom_buttons(view) {
  const button = (text, label, hook, act) => {
    const node = pv_button(text, act);
    node.setAttribute("aria-label", label);
    node.title = label;
    node.dataset.pcv = `dag-${hook}`;
    return node;
  };
  view.zoomButtons = [
    button("−", "Zoom out (key -)", "zoom-out", () => dag_zoom_by(view, 1 / 1.5)),
    button("+", "Zoom in (key +, or Ctrl and the wheel)", "zoom-in", () => dag_zoom_by(view, 1.5)),
    button("1:1", "Reset zoom (key 0)", "zoom-reset", () => dag_zoom_to(view, dag_zoom_none())),
  ];
  const group = pv_el("span", "pcv-dag-zoom");
  group.append(...view.zoomButtons);
  return group;
}

function dag_zoom_state(view) {
  view.zoomButtons[0].disabled = view.zoomButtons[2].disabled = view.zoom.k === 1;
  view.zoomButtons[1].disabled = view.zoom.k === DAG_MOST_ZOOM;
  view.frame.el.dataset.zoom = view.zoom.k.toFixed(2);
}
