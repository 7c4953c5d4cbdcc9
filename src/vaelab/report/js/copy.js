// Copies a command; where the browser has no clipboard or refuses it, selects the command instead.
document.querySelectorAll("button.copy").forEach((button) => {
  const code = button.previousElementSibling;
  const say = (text) => { button.textContent = text; setTimeout(() => { button.textContent = "copy"; }, 2000); };
  const select = () => { getSelection().selectAllChildren(code); say("selected"); };
  button.addEventListener("click", () => {
    if (navigator.clipboard) navigator.clipboard.writeText(code.textContent).then(() => say("copied"), select);
    else select();
  });
});
