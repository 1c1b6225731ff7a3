"""plot.py - the figures of a benchmark as one SVG: what a lifecycle costs, and what was seen of it.

Two panels share their rows, one row for each tool. Knows nothing of the tools and needs no library.
The picture stands alone: text stays text, it brings its own background for light and for dark
pages, and its two colours (Okabe and Ito's blue and orange) differ for every kind of eye; the names
beside the bars say the same as the colours.
"""

import math
import statistics
from xml.sax.saxutils import escape

WIDTH = 800
ROW = 27
TOP = 84      # of the first row
LABELS = 196  # right edge of the names
LEFT, LEFT_WIDTH = 206, 268
RIGHT, RIGHT_WIDTH = 532, 190  # behind each scale there is room for a value
BAR = 14

STYLE = """
  text { font: 13px system-ui, "Segoe UI", Helvetica, Arial, "DejaVu Sans", sans-serif; fill: #1f2328 }
  .title { font-weight: 600 }
  .small { font-size: 11.5px; fill: #59636e }
  .card { fill: #ffffff; stroke: #d1d9e0 }
  .own { fill: #0072b2 }
  .peer { fill: #e69f00 }
  .whisker { stroke: #1f2328; stroke-width: 1.5; fill: none }
  .grid { stroke: #d1d9e0; stroke-width: 1 }
  .floor { stroke: #59636e; stroke-width: 1.5; stroke-dasharray: 5 3 }
  @media (prefers-color-scheme: dark) {
    text { fill: #f0f6fc }
    .small { fill: #9198a1 }
    .card { fill: #0d1117; stroke: #3d444d }
    .own { fill: #56b4e9 }
    .whisker { stroke: #f0f6fc }
    .grid { stroke: #3d444d }
    .floor { stroke: #9198a1 }
  }"""


class Row:
    """One tool: its name, whether it is ours, and the values of all rounds (may be empty)."""

    def __init__(self, name, own, costs, shares):
        self.name, self.own = name, own
        self.costs = [v for v in costs if v is not None]
        self.shares = [v for v in shares if v is not None]


def step_of(most):
    """A round distance of grid lines: three to six of them."""
    size = 10 ** math.floor(math.log10(most))
    return next(size * s for s in (0.2, 0.5, 1, 2) if most / (size * s) <= 6)


def text(x, y, words, kind="", anchor="start"):
    return '<text x="%.1f" y="%.1f"%s text-anchor="%s">%s</text>' % (
        x, y, ' class="%s"' % kind if kind else "", anchor, escape(words))


def line(x1, y1, x2, y2, kind):
    return '<line x1="%.1f" y1="%.1f" x2="%.1f" y2="%.1f" class="%s"/>' % (x1, y1, x2, y2, kind)


class Panel:
    def __init__(self, left, width, most, step, form):
        self.left, self.width, self.most, self.step, self.form = left, width, most, step, form
        self.mark = -1  # x of a line from top to bottom

    def x(self, value):
        return self.left + self.width * min(value, self.most) / self.most

    def grid(self, bottom):
        lines = []
        for i in range(int(self.most / self.step + 1e-9) + 1):
            x = self.x(i * self.step)
            lines += [line(x, TOP - 4, x, bottom, "grid"),
                      text(x, bottom + 15, "%g" % (i * self.step), "small", "middle")]
        return lines

    def bar(self, top, values, kind):
        """The bar ends at the median, the whisker goes from the least to the most."""
        middle = top + ROW / 2
        if not values:
            return [text(self.left + 6, middle + 4.5, "–", "small")]
        low, median, high = min(values), statistics.median(values), max(values)
        out = ['<rect x="%.1f" y="%.1f" width="%.1f" height="%d" class="%s"/>' % (
            self.left, middle - BAR / 2, self.x(median) - self.left, BAR, kind)]
        if high > low:
            out.append('<path class="whisker" d="M%.1f %.1fH%.1fM%.1f %.1fv8M%.1f %.1fv8"/>' % (
                self.x(low), middle, self.x(high), self.x(low), middle - 4, self.x(high), middle - 4))
        out.append(text(self.beside(self.x(high) + 6), middle + 4.5, self.form % median))
        return out

    def beside(self, x):
        """Where a value may start: the line of the floor must not cross it."""
        return self.mark + 6 if x - 4 < self.mark < x + 30 else x


def draw(rows, floor, caption):
    """The SVG as text. `floor`: the costs of doing nothing, may be empty. `caption`: its lines."""
    bottom = TOP + ROW * len(rows)
    height = bottom + 34 + 16 * len(caption)
    most = max([v for row in rows for v in row.costs] + list(floor) + [1])
    step = step_of(most)
    costs = Panel(LEFT, LEFT_WIDTH, math.ceil(most / step) * step, step, "%.0f")
    shares = Panel(RIGHT, RIGHT_WIDTH, 100, 25, "%.1f %%")
    costs.mark = costs.x(statistics.median(floor)) if floor else -1

    out = ['<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" width="%d" height="%d" role="img" '
           'aria-labelledby="t d">' % (WIDTH, height, WIDTH, height),
           '<title id="t">What watching costs, and how much of it is seen</title>',
           '<desc id="d">%s</desc>' % escape(" ".join(describe(row) for row in rows)),
           "<style>%s\n</style>" % STYLE,
           '<rect class="card" x="0.5" y="0.5" width="%d" height="%d" rx="8"/>' % (WIDTH - 1, height - 1),
           text(LEFT, 26, "CPU per fork, exec and exit, µs", "title"),
           text(LEFT, 44, "less is better", "small"),
           text(RIGHT, 26, "All arguments known, percent", "title"),
           text(RIGHT, 44, "of short processes; more is better", "small")]
    out += costs.grid(bottom) + shares.grid(bottom)
    for i, row in enumerate(rows):
        top = TOP + i * ROW
        kind = "own" if row.own else "peer"
        out.append(text(LABELS, top + ROW / 2 + 4.5, row.name, "", "end"))
        out += costs.bar(top, row.costs, kind) + shares.bar(top, row.shares, kind)
    if floor:
        words = "floor, %.0f: takes the messages, does nothing" % statistics.median(floor)
        out += [line(costs.mark, TOP - 10, costs.mark, bottom, "floor"),
                text(costs.mark, TOP - 15, words, "small")]
    out += [text(16, bottom + 38 + 16 * i, words, "small") for i, words in enumerate(caption)]
    return "\n".join(out + ["</svg>"]) + "\n"


def describe(row):
    parts = ["%.0f µs" % statistics.median(row.costs)] if row.costs else []
    parts += ["%.1f %% with all arguments" % statistics.median(row.shares)] if row.shares else []
    return "%s: %s." % (row.name, ", ".join(parts) or "not measured")
