// Runs in every page before its own scripts: tells the tests when a person would have seen something, in milliseconds
// since 1970, which are comparable between the tabs of one machine.
window.screenWatch = (() => {
  const inputs = {}
  for (const type of ['pointerdown', 'pointermove', 'pointerup', 'keydown']) {
    const note = (event) => {
      inputs[type] = performance.timeOrigin + event.timeStamp
    }
    window.addEventListener(type, note, { capture: true, passive: true })
  }

  const shapes = () => [...document.querySelectorAll('.tl-shape')].filter((shape) => shape.style.display !== 'none')
  const shape = (id) => document.querySelector(`[data-shape-id="${CSS.escape(id)}"]`)
  const conditions = {
    count: ({ count }) => shapes().length === count,
    at: ({ id, x, y }) => {
      const box = shape(id)?.getBoundingClientRect()
      return box !== undefined && Math.abs(box.x - x) < 1 && Math.abs(box.y - y) < 1
    },
    picture: ({ width }) =>
      [...document.querySelectorAll('img.tl-image')].some((image) => image.complete && image.naturalWidth === width),
    gone: ({ id }) => shape(id) === null,
  }

  // The first frame in which a condition holds.
  const shown = (condition) =>
    new Promise((resolve) => {
      const look = () => {
        if (conditions[condition.is](condition)) resolve(performance.timeOrigin + performance.now())
        else requestAnimationFrame(look)
      }
      look()
    })

  // Every state that the connection's indicator went through, in order.
  const states = []
  const noteState = () => {
    const state = document.querySelector('[data-testid="connection-indicator"]')?.dataset.state
    if (state !== undefined && state !== states.at(-1)) states.push(state)
  }
  new MutationObserver(noteState).observe(document, {
    subtree: true, childList: true, attributes: true, attributeFilter: ['data-state'],
  })

  let pending
  return {
    inputs,
    states,
    expect: (condition) => {
      pending = shown(condition)
    },
    seen: () => pending,
  }
})()
