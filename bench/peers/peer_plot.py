"""peer_plot.py - a dot plot on a logarithmic axis, as SVG; nothing but the standard library."""
import html
import math

WIDTH, LEFT, RIGHT, ROW, TOP = 860, 200, 90, 20, 56
OURS, THEIRS, GRID, TEXT = "#c2410c", "#475569", "#e2e8f0", "#0f172a"


def decades(values):
    low = 10 ** math.floor(math.log10(min(values)))
    high = 10 ** math.ceil(math.log10(max(values) * 1.01))
    return low, high


def number(value):
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}"


class Drawing:
    def __init__(self, low, high):
        self.parts = []
        self.low, self.high = math.log10(low), math.log10(high)

    def x(self, value):
        share = (math.log10(value) - self.low) / (self.high - self.low)
        return LEFT + share * (WIDTH - LEFT - RIGHT)

    def text(self, x, y, words, size=12, anchor="start", color=TEXT, weight="normal"):
        self.parts.append(f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size}" fill="{color}" '
                          f'text-anchor="{anchor}" font-weight="{weight}">'
                          f'{html.escape(words)}</text>')

    def line(self, x1, y1, x2, y2, color, width=1):
        self.parts.append(f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" '
                          f'stroke="{color}" stroke-width="{width}"/>')

    def row(self, y, name, value, color):
        self.text(LEFT - 10, y + 4, name, anchor="end", color=color)
        self.line(LEFT, y, self.x(value), y, color)
        self.parts.append(f'<circle cx="{self.x(value):.1f}" cy="{y:.1f}" r="4.5" '
                          f'fill="{color}"/>')
        self.text(self.x(value) + 9, y + 4, number(value), color=color)


def draw(path, title, unit, groups):
    """groups: [(title, [(name, value, is_ours)])], rows from the cheapest on."""
    values = [value for _, rows in groups for _, value, _ in rows]
    low, high = decades(values)
    drawing = Drawing(low, high)
    y = TOP
    drawing.text(16, 24, title, size=16, weight="bold")
    drawing.text(16, 42, f"{unit}; logarithmic", size=12, color=THEIRS)
    for head, rows in groups:
        y += 26
        drawing.text(16, y, head, size=13, weight="bold")
        begin = y + 6
        end = begin + ROW * len(rows) + 4
        tick = low
        while tick <= high * 1.01:
            drawing.line(drawing.x(tick), begin, drawing.x(tick), end, GRID)
            tick *= 10
        for name, value, is_ours in sorted(rows, key=lambda row: row[1]):
            y += ROW
            drawing.row(y, name, value, OURS if is_ours else THEIRS)
        y += 8
    height = y + 32
    tick = low
    while tick <= high * 1.01:
        drawing.text(drawing.x(tick), height - 10, number(tick), size=11, anchor="middle",
                     color=THEIRS)
        tick *= 10
    with open(path, "w", encoding="ascii") as file:
        file.write(f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height:.0f}" '
                   f'width="{WIDTH}" height="{height:.0f}" font-family="sans-serif">\n'
                   f'<rect width="100%" height="100%" fill="#ffffff"/>\n')
        file.write("\n".join(drawing.parts) + "\n</svg>\n")
