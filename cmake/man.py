#!/usr/bin/env python3
"""man.py PAGE.N.md OUT - a manual page out of its Markdown.

No Markdown library: it knows what the manuals in docs/ use, and says so when it meets what it does
not know. Text is set as man(7) wants it, tables go through tbl(1).
"""
import re
import sys

WIDTH_MAX = 40  # of a table but its last column
SPAN = re.compile(r"`([^`]+)`|\*\*(.+?)\*\*|\*(.+?)\*|\[([^\]]+)\]\(([^)]+)\)")


def escape(text):
    return text.replace("\\", "\\e").replace("-", "\\-").replace("'", "\\(aq").replace("~", "\\(ti")


def spans(text):
    """Bold, italics, code and links of a piece of text."""
    out, at = "", 0
    for found in SPAN.finditer(text):
        code, bold, italic, link, _ = found.groups()
        out += escape(text[at:found.start()])
        if link is not None:
            out += spans(link)
        elif italic is not None:
            out += f"\\fI{escape(italic)}\\fP"
        elif bold is not None:  # *VALUE* may stand in it
            out += f"\\fB{escape(bold)}\\fP"
        else:
            out += f"\\fB{escape(code)}\\fP"
        at = found.end()
    out += escape(text[at:])
    return out


def protect(line):
    """A dot or an apostrophe at the beginning would be a request."""
    return "\\&" + line if line[:1] in (".", "'") or line.startswith("\\(aq") else line


def paragraph(lines):
    out = []
    for line in lines:
        is_broken = line.endswith("  ")
        out.append(line.strip() + ("\x00" if is_broken else ""))
    text = spans("\n".join(out))
    result = []
    for line in text.split("\n"):
        result.append(protect(line.replace("\x00", "")))
        if line.endswith("\x00"):
            result.append(".br")
    while result and result[-1] == ".br":
        result.pop()
    return result


def example(lines):
    return [".PP", ".in +4n", ".EX"] + [protect(escape(line)) or "\\&" for line in lines] + \
        [".EE", ".in", ".PP"]


def table(lines):
    rows = [[cell.strip().replace("\x01", "|") for cell in
             line.strip().strip("|").replace("\\|", "\x01").split("|")] for line in lines]
    head, rows = rows[0], [row + [""] * (len(rows[0]) - len(row)) for row in rows[2:]]
    widths = [max(len(row[i]) for row in [head] + rows) for i in range(len(head))]
    if sum(widths[:-1]) > WIDTH_MAX:
        return wide_table(head, rows)
    out = [".ad l", ".TS", "tab(\x02);", " ".join(["l"] * (len(head) - 1) + ["lx"]) + "."]
    if any(head):
        rows.insert(0, [f"*{cell}*" if cell else "" for cell in head])
    for row in rows:
        out.append("\x02".join(protect(spans(cell)) for cell in row[:-1]) + "\x02T{")
        out.append(protect(spans(row[-1])) or "\\&")
        out.append("T}")
    return out + [".TE", ".ad b", ".PP"]


def wide_table(head, rows):
    """What would leave no room for its last column becomes a list."""
    out = []
    for row in rows:
        more = "".join(f" *{name or 'also'}*: {cell}." for name, cell in
                       zip(head[1:-1], row[1:-1]) if cell)
        name, text = row[0].replace("`", ""), (row[-1] + "." + more).strip(". ") + "."
        out += [".TP", f"\\fB{escape(name)}\\fP", protect(spans(text))]
    return out


def indented(lines, at):
    """The lines from `at` on that are indented or blank, taken four to the left, and their end."""
    begin = at
    while at < len(lines) and (lines[at].startswith("    ") or not lines[at].strip()):
        at += 1
    body = [line[4:] for line in lines[begin:at]]
    while body and not body[-1].strip():
        body.pop()
    return body, at


def definition(terms, body):
    out = [".TP"]
    for number, term in enumerate(terms):
        if number:
            out.append(".TQ")
        out.append(protect(spans(term.strip())))
    end = next((i for i, line in enumerate(body) if not line.strip()), len(body))
    out += paragraph(body[:end])
    if end < len(body):
        out += [".RS"] + blocks(body[end:]) + [".RE"]
    return out


def bullet(mark, lines):
    return [f".IP {mark} 3"] + paragraph(lines)


def blocks(lines):
    out, at = [], 0
    while at < len(lines):
        line = lines[at]
        if not line.strip():
            at += 1
        elif line.startswith("    "):
            body, at = indented(lines, at)
            out += example(body)
        elif line.startswith("```"):
            end = lines.index("```", at + 1)
            out += example(lines[at + 1:end])
            at = end + 1
        elif line.startswith("### "):
            out.append(".SS " + escape(line[4:]))
            at += 1
        elif line.startswith("## "):
            out.append(".SH " + escape(line[3:].upper()))
            at += 1
        elif line.startswith("|"):
            end = at
            while end < len(lines) and lines[end].startswith("|"):
                end += 1
            out += table(lines[at:end])
            at = end
        elif re.match(r"(- |\d+\. )", line):
            mark = "\\(bu" if line[0] == "-" else line.split(" ")[0]
            item, at = [line.split(" ", 1)[1]], at + 1
            while at < len(lines) and re.match(r" {2,3}\S", lines[at]):
                item.append(lines[at])
                at += 1
            out += bullet(mark, item)
        else:
            item = []
            while at < len(lines) and lines[at].strip() and not lines[at].startswith(":   "):
                item.append(lines[at])
                at += 1
            if at < len(lines) and lines[at].startswith(":   "):
                lines[at] = "    " + lines[at][4:]
                body, at = indented(lines, at)
                out += definition(item, body)
            else:
                out += [".PP"] + paragraph(item)
    return out


def page(text):
    lines = text.replace("\t", "    ").split("\n")
    found = re.fullmatch(r"# ([\w.-]+)\((\d)\)", lines[0])
    if found is None:
        raise SystemExit(f"the first line is not \"# name(section)\": {lines[0]}")
    name, section = found.groups()
    return "\n".join(["'\\\" t", f".TH {name.upper()} {section} \"\" handfast handfast", ".nh"] +
                     blocks(lines[1:])) + "\n"


def main():
    if len(sys.argv) != 3:
        raise SystemExit(__doc__)
    with open(sys.argv[1], encoding="utf-8") as file:
        text = page(file.read())
    with open(sys.argv[2], "w", encoding="utf-8") as file:
        file.write(text)


if __name__ == "__main__":
    main()
