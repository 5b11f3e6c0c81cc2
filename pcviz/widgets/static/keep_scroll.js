// JupyterLab takes its styles away for a moment when the theme changes. The notebook is shorter until they are back, and scrolled up to the
// end of what is left of it; here it goes back to where it stood.

const THEME_SETTLES_MS = 1500; // after the page has the mark of the new theme

class KeepScroll {
  constructor() {
    this.held = null; // where the notebook stood when the styles went
    this.heard = () => this.held === null && this.host.clientHeight && (this.top = this.host.scrollTop);
    this.release = () => {
      this.restore();
      this.held = null;
    };
  }

  watch(host) {
    for (const [type, hear] of [["scroll", this.heard], ["wheel", this.release]]) {
      this.host?.removeEventListener(type, hear);
      host?.addEventListener(type, hear, { passive: true });
    }
    this.host = host;
    this.top = host?.scrollTop ?? 0;
  }

  // Changes of the page's body: a style sheet that goes, then the mark of the new theme.
  hear(records) {
    const gone = records.flatMap(({ removedNodes }) => [...removedNodes]);
    if (gone.some((node) => node.nodeName === "LINK" && node.href.includes("/themes/"))) this.held ??= this.top;
    if (this.held !== null && records.some(({ type }) => type === "attributes")) setTimeout(this.release, THEME_SETTLES_MS);
  }

  // Whenever sizes change: as soon as there is enough of the notebook again.
  restore() {
    const { host, held } = this;
    if (held !== null && host?.clientHeight && host.scrollTop < held && host.scrollHeight - host.clientHeight >= held) host.scrollTop = held;
  }
}
