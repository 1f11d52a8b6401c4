for (const button of document.querySelectorAll("[data-copy]")) {
  const label = button.textContent;
  button.hidden = false;
  button.addEventListener("click", async () => {
    try {
      await navigator.clipboard.writeText(button.dataset.copy);
      button.textContent = "Copied";
    } catch {
      button.textContent = "Not copied: the browser does not allow it";
    }
    setTimeout(() => { button.textContent = label; }, 2000);
  });
}

const chips = [...document.querySelectorAll("[data-filter]")];
const press = (chip, on) => chip.setAttribute("aria-pressed", String(on));
const isPressed = (chip) => chip.getAttribute("aria-pressed") === "true";
const filter = () => {
  const wanted = chips.filter(isPressed).map((chip) => chip.dataset.filter);
  for (const claim of document.querySelectorAll(".claim"))
    claim.hidden = wanted.length > 0 && !wanted.includes(claim.dataset.category);
};
for (const chip of chips) {
  chip.disabled = false;
  chip.addEventListener("click", () => { press(chip, !isPressed(chip)); filter(); });
}

// A link to a claim must find it, whatever is filtered out.
addEventListener("hashchange", () => {
  const target = document.getElementById(location.hash.slice(1));
  if (target === null || !target.hidden) return;
  for (const chip of chips) press(chip, false);
  filter();
  target.scrollIntoView();
});

// On paper nothing can be unfolded.
let folded = [];
addEventListener("beforeprint", () => {
  folded = [...document.querySelectorAll("details:not([open])")];
  for (const details of folded) details.open = true;
});
addEventListener("afterprint", () => { for (const details of folded) details.open = false; });
