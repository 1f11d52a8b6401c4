// Everything can be read without this script; it adds what needs one: copying, printing, where one is on the page.

const copied = async (button, text) => {
  const label = button.textContent;
  try {
    await navigator.clipboard.writeText(text);
    button.textContent = "Copied";
  } catch {
    button.textContent = "Not copied: the browser does not allow it";
  }
  setTimeout(() => { button.textContent = label; }, 2000);
};

const copyable = (formula) => {
  const source = formula.querySelector("annotation");
  if (source === null || formula.querySelector(".copy") !== null) return;
  const button = Object.assign(document.createElement("button"), { type: "button", className: "copy", textContent: "LaTeX" });
  button.setAttribute("aria-label", "Copy this formula as LaTeX");
  button.addEventListener("click", () => copied(button, source.textContent.trim()));
  const caption = formula.parentElement.matches(".claimed") ? formula.parentElement.querySelector("figcaption") : null;
  if (caption === null) formula.append(button);
  else caption.insertBefore(button, caption.querySelector("details"));
};
for (const formula of document.querySelectorAll(".formula")) copyable(formula);

// What is folded away is set when it is unfolded.
const set = (place) => {
  for (const formula of place.querySelectorAll("[data-later]")) {
    katex.render(formula.textContent, formula, { displayMode: formula.dataset.later === "display", throwOnError: false, strict: "ignore" });
    formula.removeAttribute("data-later");
    if (formula.classList.contains("formula")) copyable(formula);
  }
};
for (const details of document.querySelectorAll("details")) {
  details.addEventListener("toggle", () => { if (details.open) set(details); });
}

for (const button of document.querySelectorAll("[data-copy]")) {
  button.hidden = false;
  button.addEventListener("click", () => copied(button, button.dataset.copy));
}

// The list of contents is open where there is room for it.
const contents = document.querySelector(".contents details");
if (contents !== null) {
  const wide = matchMedia("(min-width: 68rem)");
  const show = () => { contents.open = wide.matches; };
  wide.addEventListener("change", show);
  show();
  const links = new Map([...contents.querySelectorAll("a")].map((link) => [link.hash.slice(1), link]));
  const watch = new IntersectionObserver((seen) => {
    for (const { target, isIntersecting } of seen)
      if (isIntersecting) {
        for (const link of links.values()) link.removeAttribute("aria-current");
        links.get(target.id)?.setAttribute("aria-current", "true");
      }
  }, { rootMargin: "-10% 0px -75% 0px" });
  for (const id of links.keys()) {
    const heading = document.getElementById(id);
    if (heading !== null) watch.observe(heading);
  }
}

// A link leads to what is folded, too.
const unfold = () => {
  for (let place = document.getElementById(decodeURIComponent(location.hash.slice(1))); place !== null; place = place.parentElement)
    if (place.tagName === "DETAILS") place.open = true;
};
addEventListener("hashchange", unfold);
unfold();

// On paper nothing can be unfolded: what stands folded in a derivation is printed.
let folded = [];
addEventListener("beforeprint", () => {
  folded = [...document.querySelectorAll(".worked details:not([open])")];
  for (const details of folded) {
    set(details);
    details.open = true;
  }
});
addEventListener("afterprint", () => { for (const details of folded) details.open = false; });
