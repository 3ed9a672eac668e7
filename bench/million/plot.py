"""plot.py - line charts as SVG, with nothing but the standard library."""
import html
import math

WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 720, 400, 70, 20, 40, 50
COLOURS = ["#1f6fb4", "#d1661b", "#2b8a3e", "#9c36b5"]


def steps_of(top):
    """Round numbers from 0 to just above `top`."""
    raw = max(top, 1e-9) / 5
    unit = 10 ** math.floor(math.log10(raw))
    step = next(unit * factor for factor in (1, 2, 5, 10) if unit * factor >= raw)
    return [step * index for index in range(math.ceil(top / step) + 1)]


def label(value):
    return f"{value:,.0f}" if value >= 10 or value == int(value) else f"{value:.2g}"


def write(path, title, x_title, y_title, lines, is_log=False):
    """Draws `lines`, a dictionary of names and lists of (x, y); `is_log`: x by its logarithm."""
    points = [point for line in lines.values() for point in line]
    ys = steps_of(max(y for _, y in points))
    all_x = sorted({x for x, _ in points})
    xs = all_x if is_log else steps_of(all_x[-1])
    scale = math.log10 if is_log else float
    low, high = scale(xs[0]), scale(xs[-1])

    def at_x(x):
        return LEFT + (scale(x) - low) / ((high - low) or 1) * (WIDTH - LEFT - RIGHT)

    def at_y(y):
        return HEIGHT - BOTTOM - y / (ys[-1] or 1) * (HEIGHT - TOP - BOTTOM)

    out = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" '
           'font-family="sans-serif" font-size="12">',
           f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>',
           f'<text x="{LEFT}" y="22" font-size="15">{html.escape(title)}</text>']
    for y in ys:
        out.append(f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{at_y(y):.1f}" y2="{at_y(y):.1f}" '
                   'stroke="#ddd"/>')
        out.append(f'<text x="{LEFT - 6}" y="{at_y(y) + 4:.1f}" text-anchor="end">{label(y)}'
                   '</text>')
    for x in xs:
        out.append(f'<text x="{at_x(x):.1f}" y="{HEIGHT - BOTTOM + 18}" text-anchor="middle">'
                   f'{label(x)}</text>')
    out.append(f'<text x="{WIDTH - RIGHT}" y="{HEIGHT - 10}" text-anchor="end">'
               f'{html.escape(x_title)}</text>')
    out.append(f'<text x="12" y="{TOP - 8}">{html.escape(y_title)}</text>')
    for index, (name, line) in enumerate(lines.items()):
        colour = COLOURS[index % len(COLOURS)]
        path_text = " ".join(f"{at_x(x):.1f},{at_y(y):.1f}" for x, y in line)
        out.append(f'<polyline points="{path_text}" fill="none" stroke="{colour}" '
                   'stroke-width="2"/>')
        if is_log:
            out += [f'<circle cx="{at_x(x):.1f}" cy="{at_y(y):.1f}" r="3" fill="{colour}"/>'
                    for x, y in line]
        if len(lines) > 1:
            out.append(f'<text x="{WIDTH - RIGHT - 90}" y="{TOP + 18 * index}" fill="{colour}">'
                       f'{html.escape(name)}</text>')
    out.append("</svg>")
    with open(path, "w", encoding="utf-8") as file:
        file.write("\n".join(out) + "\n")
