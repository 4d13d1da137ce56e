"""The table, the JSON and the chart of a run."""

import html
import json


def table(headers, rows):
    """Columns aligned, the first to the left, the others to the right."""
    cells = [headers] + [[str(cell) for cell in row] for row in rows]
    widths = [max(len(row[i]) for row in cells) for i in range(len(headers))]

    def line(row):
        return "  ".join(c.ljust(w) if i == 0 else c.rjust(w) for i, (c, w) in enumerate(zip(row, widths))).rstrip()

    return "\n".join([line(headers), "  ".join("-" * w for w in widths)] + [line(row) for row in cells[1:]])


def write_json(path, results):
    path.write_text(json.dumps(results, indent=2) + "\n")


def write_chart(path, title, series):
    """Bars of throughput by concurrency. `series`: name → {connections: requests a second}."""
    connections = sorted({c for points in series.values() for c in points})
    highest = max(rate for points in series.values() for rate in points.values()) or 1
    colors = ["#1f4e79", "#2e8b57", "#c0392b", "#8e44ad", "#d68910", "#7f8c8d", "#16a085", "#2c3e50"]
    bar, gap, left, top, height = 16, 28, 64, 48, 260
    group = bar * len(series) + gap
    width = left + group * len(connections) + 190
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{top + height + 44}" role="img"'
        f' font-family="system-ui, sans-serif" font-size="12"><title>{html.escape(title)}</title>'
        f'<rect width="100%" height="100%" fill="#ffffff"/>'
        f'<text x="{left}" y="24" font-size="15" font-weight="600">{html.escape(title)}</text>'
    ]
    for step in range(5):
        y = top + height - height * step / 4
        parts.append(f'<line x1="{left}" x2="{width - 184}" y1="{y}" y2="{y}" stroke="#dddddd"/>')
        parts.append(f'<text x="{left - 8}" y="{y + 4}" text-anchor="end">{highest * step / 4:,.0f}</text>')
    for g, c in enumerate(connections):
        x = left + gap / 2 + g * group
        for s, points in enumerate(series.values()):
            tall = height * points.get(c, 0) / highest
            parts.append(
                f'<rect x="{x + s * bar}" y="{top + height - tall:.1f}" width="{bar - 2}" height="{tall:.1f}"'
                f' fill="{colors[s % len(colors)]}"><title>{points.get(c, 0):,.0f}/s</title></rect>'
            )
        middle = x + bar * len(series) / 2
        parts.append(f'<text x="{middle}" y="{top + height + 18}" text-anchor="middle">{c}</text>')
    parts.append(f'<text x="{left}" y="{top + height + 38}" fill="#555555">connections</text>')
    for s, name in enumerate(series):
        y = top + 18 * s
        parts.append(f'<rect x="{width - 172}" y="{y}" width="11" height="11" fill="{colors[s % len(colors)]}"/>')
        parts.append(f'<text x="{width - 156}" y="{y + 10}">{html.escape(name)}</text>')
    path.write_text("".join(parts) + "</svg>\n")
