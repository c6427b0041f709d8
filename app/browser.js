// What the page cannot know on the server: its address, whether anybody looks, which theme was chosen, how time goes by.

const ages = new Set()

function words(ms) {
  const s = Math.max(0, Math.floor(ms / 1000))
  if (s >= 172800) { return `${Math.floor(s / 86400)} d ago` }
  if (s >= 7200) { return `${Math.floor(s / 3600)} h ago` }
  if (s >= 60) { return `${Math.floor(s / 60)} min ago` }
  return `${s} s ago`
}

class Age extends HTMLElement {
  connectedCallback() { ages.add(this); this.tick() }
  disconnectedCallback() { ages.delete(this) }
  tick() {
    const text = words(Date.now() + (window.moversSkew || 0) - Number(this.getAttribute("at")))
    if (this.textContent !== text) { this.textContent = text }
  }
}

if (!customElements.get("m-age")) {
  customElements.define("m-age", Age)
  setInterval(() => { if (!document.hidden) { ages.forEach((age) => age.tick()) } }, 1000)
}

// The server went, as in a restart: ask for it until it answers, then start anew.
let is_waiting = false
function come_back() {
  if (is_waiting) { return }
  is_waiting = true
  const ask = async () => {
    try {
      await fetch(window.location.href, {method: "GET", cache: "no-store"})
      window.location.reload()
    } catch { setTimeout(ask, 2000) }
  }
  setTimeout(ask, 1000)
}

export function render({model}) {
  if (model.now > 0) { window.moversSkew = model.now - Date.now() }
  const remember = () => {
    document.cookie = `theme=${model.dark ? "dark" : "light"}; path=/; max-age=31536000; SameSite=Strict`
  }
  if (!/(^|; )theme=/.test(document.cookie)) {
    const dark = window.matchMedia("(prefers-color-scheme: dark)").matches
    document.cookie = `theme=${dark ? "dark" : "light"}; path=/; max-age=31536000; SameSite=Strict`
    // The server makes the page in the theme that the cookie names; without cookies the light one stays.
    if (dark !== model.dark && document.cookie.includes("theme=dark")) { window.location.reload() }
  }
  model.on("dark", remember)
  model.on("query", () => {
    if (model.query !== window.location.search) {
      window.history.pushState({}, "", window.location.pathname + model.query)
    }
  })
  Bokeh.documents.forEach((each) => each.on_event("connection_lost", come_back))
  window.addEventListener("popstate", () => { model.query = window.location.search })
  document.addEventListener("visibilitychange", () => {
    model.hidden = document.hidden
    ages.forEach((age) => age.tick())
  })
  return document.createElement("span")
}
