"""The page's looks: neutral colors, light and dark, from a phone's width on."""

STYLE = """
:root { color-scheme: light dark; --back: #f6f6f4; --card: #ffffff; --text: #1d1f21;
  --soft: #5b6066; --line: #d9dadb; --run: #0072B2; --stock: #1d1f21; --baseline: #D55E00;
  --fill: #0072B240; }
@media (prefers-color-scheme: dark) {
  :root { --back: #17191b; --card: #212427; --text: #e8e8e6; --soft: #a5abb1; --line: #3a3e42;
    --run: #56B4E9; --stock: #e8e8e6; --baseline: #E69F00; --fill: #56B4E940; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--back); color: var(--text);
  font: 16px/1.5 system-ui, "Segoe UI", Roboto, "DejaVu Sans", sans-serif; }
main, header { max-width: 1120px; margin: 0 auto; padding: 0 16px; }
header { padding-top: 28px; }
h1 { font-size: 1.7rem; line-height: 1.2; margin: 0 0 4px; overflow-wrap: anywhere; }
h2 { font-size: 1.25rem; margin: 44px 0 8px; }
h3 { font-size: 1.05rem; margin: 24px 0 8px; }
p { margin: 6px 0 12px; max-width: 75ch; }
.soft, figcaption, small { color: var(--soft); }
nav ul { list-style: none; display: flex; flex-wrap: wrap; gap: 4px 18px; padding: 0; }
a { color: var(--run); }
.numbers { display: grid; grid-template-columns: repeat(auto-fit, minmax(150px, 1fr));
  gap: 12px; margin: 20px 0 0; }
.numbers div, figure, .table, details { background: var(--card);
  border: 1px solid var(--line); border-radius: 8px; }
.numbers div { padding: 12px 14px; }
.numbers dt { color: var(--soft); font-size: .9rem; }
.numbers dd { margin: 0; font-size: 1.5rem; font-weight: 600; }
.numbers dd small { display: block; font-size: .85rem; font-weight: 400; }
.table { overflow-x: auto; margin: 10px 0; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
th, td { padding: 6px 14px; text-align: left; vertical-align: top;
  border-bottom: 1px solid var(--line); }
tbody tr:last-child > * { border-bottom: 0; }
tfoot > tr > * { border-top: 2px solid var(--line); border-bottom: 0; font-weight: 600; }
thead th { color: var(--soft); font-weight: 600; font-size: .9rem; white-space: nowrap; }
td.number, th.number { text-align: right; white-space: nowrap; }
tbody th { font-weight: 500; min-width: 8.5rem; }
.classes tbody th { white-space: nowrap; }
.recipe td { min-width: 220px; overflow-wrap: anywhere; }
.recipe tr.differs > th::after { content: " *"; color: var(--baseline); }
.bar { display: block; height: 4px; margin-top: 3px; background: var(--run);
  border-radius: 2px; margin-left: auto; }
.bar.other { background: var(--soft); }
.swatch { display: inline-block; width: .9em; height: .9em; border-radius: 3px;
  border: 1px solid var(--soft); margin-right: 7px; vertical-align: -1px; }
.charts { display: grid; gap: 14px;
  grid-template-columns: repeat(auto-fit, minmax(min(100%, 340px), 1fr)); }
figure { margin: 0; padding: 10px; }
figcaption { font-size: .9rem; overflow-wrap: anywhere; }
figure img { display: block; width: 100%; height: auto; border-radius: 4px; }
.charts figure { background: #ffffff; }
.charts img { max-width: 520px; margin: 0 auto; }
.sizes { display: flex; flex-wrap: wrap; gap: 10px; margin-bottom: 14px; }
.sizes figure { display: flex; flex-direction: column; gap: 8px; min-width: 130px;
  flex: 1 1 auto; }
.sizes svg { margin: auto; max-width: 100%; }
rect { fill: none; stroke-width: 1.5; vector-effect: non-scaling-stroke; }
rect.run { fill: var(--fill); stroke: var(--run); }
rect.stock { stroke: var(--stock); stroke-dasharray: 4 3; }
rect.baseline { stroke: var(--baseline); }
.key { list-style: none; padding: 0; display: flex; flex-wrap: wrap; gap: 4px 18px; }
.key svg { vertical-align: -1px; margin-right: 6px; }
.panels { display: grid; gap: 10px; grid-auto-flow: column; grid-auto-columns: minmax(0, 1fr); }
.panels p { margin: 0 0 4px; font-size: .9rem; color: var(--soft); }
.panels img { max-height: 420px; object-fit: contain; object-position: left; }
.sample { margin: 0 0 14px; }
details { padding: 10px 14px; margin: 10px 0; }
summary { cursor: pointer; }
pre { overflow-x: auto; font-size: .85rem; }
footer { padding: 30px 0 40px; }
@media (max-width: 600px) {
  .panels { grid-auto-flow: row; grid-template-columns: repeat(2, minmax(0, 1fr)); }
  th, td { padding: 6px 10px; } }
@media print { .charts figure, .sample, .sizes figure { break-inside: avoid; } }
"""
