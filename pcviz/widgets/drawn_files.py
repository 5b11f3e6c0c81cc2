"""Shapes as an SVG file or a one-page PDF file."""

from __future__ import annotations

import re
import zlib
from xml.sax.saxutils import escape, quoteattr

from .drawn_shapes import Box, Path, Shapes, Text

NARROW, WIDE = set("ijltfr.,:;'|![](){}- "), set("mwMW%@–…")  # of Helvetica, for centred text in PDF
UNDRAWN = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff\ud800-\udfff]")  # characters that XML does not allow


def svg_file(shapes: Shapes, prefix: str) -> bytes:
    """The SVG file; every id starts with ``prefix``."""
    size = f'width="{shapes.width:g}" height="{shapes.height:g}" viewBox="0 0 {shapes.width:g} {shapes.height:g}"'
    style = 'font-family="Helvetica, Arial, sans-serif"'
    lines = [f'<svg xmlns="http://www.w3.org/2000/svg" id="{prefix}" role="img" aria-labelledby="{prefix}-title" {size} {style}>']
    lines.append(f'<title id="{prefix}-title">{_xml(shapes.title)}</title><rect width="100%" height="100%" fill="{shapes.ground}"/>')
    number = 0
    for shape in shapes.shapes:
        named = isinstance(shape, Box) and shape.name
        lines.append(_svg_shape(shape, f' id="{prefix}-{number}"' if named else ""))
        number += bool(named)
    return ("\n".join(lines) + "\n</svg>\n").encode()


def _svg_shape(shape, mark: str) -> str:
    match shape:
        case Box():
            line = f' stroke="{shape.stroke}" stroke-width="{shape.line:g}" rx="3"' if shape.stroke else ""
            name = f"<title>{_xml(shape.name)}</title>" if shape.name else ""
            place = f'x="{shape.x:.4g}" y="{shape.y:.5g}" width="{shape.width:.4g}" height="{shape.height:.4g}"'
            return f'<rect{mark} {place} fill="{shape.fill}"{line}>{name}</rect>'
        case Path():
            first, *others = [f"{x:.5g},{y:.5g}" for x, y in shape.points]
            path = f"M{first}C{' '.join(others)}"
            return f'<path d="{path}" fill="none" stroke="{shape.stroke}" stroke-width="0.6" stroke-opacity="0.6"/>'
        case Text():
            weight = ' font-weight="bold"' if shape.bold else ""
            place = f'x="{shape.x:.5g}" y="{shape.y:.5g}" font-size="{shape.size:g}" text-anchor={quoteattr(shape.anchor)}'
            return f'<text {place} fill="{shape.fill}"{weight}>{_xml(shape.text)}</text>'
    raise TypeError(f"no shape: {shape!r}")


def _xml(text: str) -> str:
    return escape(UNDRAWN.sub("\ufffd", text))


def pdf_file(shapes: Shapes) -> bytes:
    """A PDF of one page with its text in Helvetica, which every reader has; characters that it lacks become "?"."""
    body = [f"{_rgb(shapes.ground)} rg 0 0 {shapes.width:.2f} {shapes.height:.2f} re f"]
    body += [_pdf_shape(shape, shapes.height) for shape in shapes.shapes]
    stream = zlib.compress("\n".join(body).encode("cp1252", "replace"), 9)
    fonts = "/Font << /F1 5 0 R /F2 6 0 R >>"
    font = "<< /Type /Font /Subtype /Type1 /BaseFont /{} /Encoding /WinAnsiEncoding >>"
    objects = [
        b"<< /Type /Catalog /Pages 2 0 R >>",
        b"<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
        f"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 {shapes.width:.2f} {shapes.height:.2f}] /Contents 4 0 R /Resources << {fonts} >> >>".encode(),
        f"<< /Length {len(stream)} /Filter /FlateDecode >>\nstream\n".encode() + stream + b"\nendstream",
        font.format("Helvetica").encode(),
        font.format("Helvetica-Bold").encode(),
        b"<< /Title (" + _pdf_text(shapes.title).encode("cp1252", "replace") + b") >>",
    ]
    out, starts = bytearray(b"%PDF-1.4\n%\xe2\xe3\xcf\xd3\n"), []
    for number, content in enumerate(objects, 1):
        starts.append(len(out))
        out += f"{number} 0 obj\n".encode() + content + b"\nendobj\n"
    table = "".join(f"{start:010d} 00000 n \n" for start in starts)
    count = len(objects) + 1
    end = f"trailer\n<< /Size {count} /Root 1 0 R /Info 7 0 R >>\nstartxref\n{len(out)}\n%%EOF\n"
    return bytes(out) + f"xref\n0 {count}\n0000000000 65535 f \n{table}{end}".encode()


def _pdf_shape(shape, height: float) -> str:
    """Operators of one shape; PDF's y runs upwards."""
    match shape:
        case Box():
            stroke = f"{_rgb(shape.stroke)} RG {shape.line:.2f} w " if shape.stroke else ""
            place = f"{shape.x:.2f} {height - shape.y - shape.height:.2f} {shape.width:.2f} {shape.height:.2f} re"
            return f"{_rgb(shape.fill)} rg {stroke}{place} {'B' if stroke else 'f'}"
        case Path():
            first, *others = [f"{x:.2f} {height - y:.2f}" for x, y in shape.points]
            curves = " ".join(f"{' '.join(others[i : i + 3])} c" for i in range(0, len(others), 3))
            return f"{_rgb(shape.stroke)} RG 0.4 w {first} m {curves} S"
        case Text():
            left = shape.x - (_text_width(shape.text, shape.size) / 2 if shape.anchor == "middle" else 0)
            font = "F2" if shape.bold else "F1"
            return f"BT /{font} {shape.size:g} Tf {_rgb(shape.fill)} rg {left:.2f} {height - shape.y:.2f} Td ({_pdf_text(shape.text)}) Tj ET"
    raise TypeError(f"no shape: {shape!r}")


def _pdf_text(text: str) -> str:
    plain = "".join(letter if letter.isprintable() else "?" for letter in text)
    return plain.replace("\\", "\\\\").replace("(", "\\(").replace(")", "\\)")


def _text_width(text: str, size: float) -> float:
    return size * sum(0.29 if c in NARROW else 0.86 if c in WIDE else 0.68 if c.isupper() else 0.556 for c in text)


def _rgb(colour: str) -> str:
    return " ".join(f"{int(colour[i : i + 2], 16) / 255:.3f}" for i in (1, 3, 5))
