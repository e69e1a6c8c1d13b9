// Draw the interactive figures of a page from the data in their own elements.
for (const element of document.querySelectorAll(".epsvae-plot")) {
  const figure = JSON.parse(element.dataset.figure);
  element.textContent = "";
  Plotly.newPlot(element, figure.data, figure.layout, { responsive: true, displaylogo: false });
}
