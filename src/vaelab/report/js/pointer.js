// Pointer and keys on a map. Without `move` and `place` it has no cross, and every drag selects.
const pointerOf = ({ marks, map, hover, move, take, clear, place, centre, select, selecting, showMarks, hasOriginal }) => {
  let from = null, dragging = false, boxed = false, pending = null, corner = null;
  const at = (event) => {
    const box = marks.getBoundingClientRect();
    return [event.clientX - box.left, event.clientY - box.top];
  };
  const under = (event) => map.nearest(...at(event), event.pointerType === "touch" ? 22 : 12, hasOriginal);
  const drag = (event) => {
    const [px, py] = at(event);
    const to = [clamp(px, 0, map.state.width), clamp(py, 0, map.state.height)];
    if (boxed) { map.state.box = [...from, ...to]; showMarks(); } else move(...map.toPlane(...to));
  };
  const soon = (event) => {
    if (pending === null) requestAnimationFrame(() => { const last = pending; pending = null; if (last) dragging ? drag(last) : hover(under(last)); });
    pending = event;
  };
  const selectBox = () => { select(map.inside(map.state.box)); map.state.box = corner = null; showMarks(); };
  const stop = () => { from = null; dragging = false; map.state.box = null; showMarks(); };
  marks.addEventListener("pointerdown", (event) => {
    if (event.button !== 0) return;
    from = at(event);
    boxed = event.shiftKey || selecting();
    marks.setPointerCapture(event.pointerId);
  });
  marks.addEventListener("pointermove", (event) => {
    if (from && !dragging) {
      const [px, py] = at(event);
      dragging = Math.hypot(px - from[0], py - from[1]) > 3;
    }
    if (dragging || !from) soon(event);
  });
  marks.addEventListener("pointerup", (event) => {
    if (!from) return;
    pending = null;
    const near = under(event);
    if (dragging) { drag(event); if (boxed) selectBox(); }
    // A click on a dot takes all its coordinates; elsewhere only those of the plane.
    else if (near !== null) { hover(near); take(near); }
    else if (!boxed) drag(event);
    stop();
  });
  marks.addEventListener("pointercancel", stop);
  marks.addEventListener("keydown", (event) => {
    if (event.key === "Escape") { corner = map.state.box = null; clear(); return; }
    if (!place) return;
    const step = (event.shiftKey ? 40 : 8) / map.state.scale;
    const by = { ArrowLeft: [-step, 0], ArrowRight: [step, 0], ArrowUp: [0, step], ArrowDown: [0, -step] }[event.key];
    const near = () => map.nearest(...map.toScreen(...place()), event.key === "Enter" ? Infinity : 12, hasOriginal);
    if (event.key === "Home") centre();
    else if (event.key === "Enter") { const i = near(); if (i !== null) take(i); }
    else if (event.key === " ") { if (corner) selectBox(); else corner = place(); }
    else if (by) { const [x, y] = place(); move(x + by[0], y + by[1]); }
    else return;
    if (corner) { map.state.box = [...map.toScreen(...corner), ...map.toScreen(...place())]; showMarks(); }
    hover(near());
    event.preventDefault();
  });
};
