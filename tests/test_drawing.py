"""pcv.draw: SVG and PDF files of the circuit and its parts, by our own layout and by Graphviz."""

import re
import zlib
from xml.etree import ElementTree

import pytest

import pcviz as pcv
from pcviz.compiler.layering import layering
from pcviz.ir.nodes import inputs, multiply, summate
from pcviz.widgets import drawing
from pcviz.widgets.drawn_dot import dot_source, find_dot
from pcviz.widgets.scenes.dag import MAX_GLYPHS, scene_dag
from pcviz.widgets.scenes.dag_parts import scene_dag_part
from pcviz.widgets.scenes.dag_picture import picture_of_circuit, picture_of_part, ramp

EVIL = '<b>&"\\N]]> --><script>'


@pytest.fixture(scope="module")
def root():
    dist = pcv.Categorical(num_cats=2)
    parts = [multiply(*(inputs(var, num_nodes=6, dist=dist) for var in (0, 1)), name=f"{EVIL} {i}") for i in range(3)]
    return summate(summate(*parts, num_nodes=6, name=EVIL), num_nodes=1, name="top")


def parsed(path):
    """(tree, ids, texts) of an SVG file."""
    tree = ElementTree.parse(path).getroot()
    assert tree.tag == "{http://www.w3.org/2000/svg}svg"
    return tree, [node.get("id") for node in tree.iter() if node.get("id")], [node.text for node in tree.iter() if node.tag.endswith("}text")]


def test_svg_has_every_glyph_and_link_with_ids_of_its_own(root, tmp_path):
    seen = set()
    for part in ("", f"{EVIL}", "node 31", "layer 1"):
        tree, ids, texts = parsed(pcv.draw(root, tmp_path / "a.svg", part=part, block_size=4, layout="columns"))
        summary = pcv.plan_summary(root, block_size=4)
        scene = scene_dag(root, summary, pcv.estimate(summary))
        numbering = layering(root).numbering
        key = {"": "", EVIL: f"vector:{numbering.members[1, True][0]}", "node 31": "node:31", "layer 1": "layer:1"}[part]
        picture = picture_of_part(scene, scene_dag_part(numbering, key, 4), "edges") if part else picture_of_circuit(scene, "edges")
        names = [node.text for node in tree.iter() if node.tag.endswith("}title")][1:]
        assert names == [glyph.name for glyph in picture.glyphs] and set(texts) >= {glyph.label for glyph in picture.glyphs}
        assert len([node for node in tree.iter() if node.tag.endswith("}path")]) == len(picture.links)
        assert len(set(ids)) == len(ids) and not seen & set(ids) and all(each.startswith(ids[0]) for each in ids)
        assert tree.get("aria-labelledby") in ids and b"<script" not in (tmp_path / "a.svg").read_bytes()
        seen |= set(ids)


def test_colours_are_the_values_of_the_plan(root):
    summary = pcv.plan_summary(root, block_size=4)
    report = pcv.estimate(summary)
    scene = scene_dag(root, summary, report)
    times = [report.of_layer(layer.index, "forward").time_ms for layer in summary.layers]  # one vector a layer
    picture = picture_of_circuit(scene, "time_ms")
    assert "model, H100-SXM, forward, batch 512" in picture.legend
    sums = [glyph for glyph in picture.glyphs if glyph.column]
    for glyph in sums:
        assert glyph.share == pytest.approx((times[glyph.column - 1] - min(times)) / (max(times) - min(times)), abs=1e-3)
    assert all(glyph.share is None for glyph in picture.glyphs if not glyph.column)
    assert ramp(0, "light") == "#dee9f7" and ramp(1, "dark") == "#d6ebff"


def test_large_circuits_are_drawn_by_layers_within_the_cap(tmp_path):
    large = pcv.PD((28, 28), 2, split_intervals=4, dist=pcv.Categorical(num_cats=2))
    _, ids, texts = parsed(pcv.draw(large, tmp_path / "large.svg", colour="flops", layout="columns", theme="dark"))
    assert len(ids) <= MAX_GLYPHS + 2 and any(text.endswith(" products") for text in texts)


def test_pdf_is_sound(root, tmp_path):
    data = pcv.draw(pcv.compile(root, block_size=2), tmp_path / "a.pdf", part="layer 1", layout="columns").read_bytes()
    assert data.startswith(b"%PDF-1.4") and data.endswith(b"%%EOF\n")
    start = int(re.search(rb"startxref\n(\d+)", data)[1])
    assert data[start:].startswith(b"xref")
    for number, offset in enumerate(re.findall(rb"(\d{10}) 00000 n", data), 1):
        assert data[int(offset) :].startswith(f"{number} 0 obj".encode())
    length, stream = re.search(rb"/Length (\d+) /Filter /FlateDecode >>\nstream\n(.*?)\nendstream", data, re.S).groups()
    text = zlib.decompress(stream[: int(length)]).decode("cp1252")
    assert len(stream) == int(length) and "(layer 1, at block size 2) Tj" in text and "<b>&\"\\\\N" in text


@pytest.mark.skipif(find_dot() is None, reason="Graphviz is not installed")
@pytest.mark.parametrize("kind", ["svg", "pdf"])
def test_graphviz_draws_the_same_glyphs(root, tmp_path, kind):
    target = pcv.draw(root, tmp_path / f"dot.{kind}", part="layer 1", block_size=4, layout="dot")
    if kind == "pdf":
        assert target.read_bytes().startswith(b"%PDF")
        return
    tree, ids, texts = parsed(target)
    own, same, words = parsed(pcv.draw(root, tmp_path / "own.svg", part="layer 1", block_size=4, layout="columns"))
    assert ids == same and len(ids) > 5 and texts == words  # headings, labels and legend, too

    def stands(of, tag: str, name: str) -> list[float]:
        return [float(node.get(name)) for node in of.iter() if node.tag.endswith("}" + tag) and node.get("id")]

    assert len({round(x) for x in stands(tree, "rect", "x")}) == len({round(x) for x in stands(own, "rect", "x")}), "the same columns"
    starts, ends = ({node.get("d").split("C")[0] for node in of.iter() if node.tag.endswith("}path")} for of in (tree, own))
    assert len(starts) == len(ends) > 1, "links begin at as many glyphs"


def test_graphviz_reads_no_names(root):
    scene = scene_dag(root, pcv.plan_summary(root, block_size=4))
    source = dot_source(picture_of_circuit(scene, "edges"))
    assert EVIL[:3] not in source and "label=<" not in source and source.count("->") >= 3


def test_dense_or_slow_pictures_fall_back_to_columns(root, tmp_path, monkeypatch):
    sleeper = tmp_path / "dot"
    sleeper.write_text("#!/bin/sh\nexec sleep 30\n")
    sleeper.chmod(0o755)
    monkeypatch.setattr("pcviz.widgets.drawn_dot.shutil.which", lambda name: str(sleeper))
    with pytest.raises(ValueError, match="longer than time_limit=0.2 seconds"):
        pcv.draw(root, tmp_path / "a.svg", layout="dot", time_limit=0.2)
    own = pcv.draw(root, tmp_path / "own.svg", layout="columns").read_bytes()
    assert pcv.draw(root, tmp_path / "a.svg", time_limit=0.2).read_bytes() == own
    monkeypatch.setattr(drawing, "MAX_DOT_LINKS", 1)
    with pytest.raises(ValueError, match="links are more than"):
        pcv.draw(root, tmp_path / "a.svg", layout="dot")
    assert pcv.draw(root, tmp_path / "a.svg").read_bytes() == own
    monkeypatch.setattr("pcviz.widgets.drawn_dot.shutil.which", lambda name: None)
    monkeypatch.setattr(drawing, "MAX_DOT_LINKS", 1500)
    with pytest.raises(FileNotFoundError, match="Graphviz"):
        pcv.draw(root, tmp_path / "a.svg", layout="dot")


def test_wrong_arguments_say_what_is_right(root, tmp_path):
    for more, text in (({"colour": "red"}, "colour must be one of 'edges'"), ({"layout": "neato"}, "layout"), ({"theme": "sepia"}, "theme"),
                       ({"part": "elsewhere"}, "No vector is called"), ({"part": "node 999"}, "There is no node 999"),
                       ({"block_size": 3}, "power of two"), ({"part": f"{EVIL} "[:8]}, "vectors fit part")):  # fmt: skip
        with pytest.raises(ValueError, match=text):
            pcv.draw(root, tmp_path / "a.svg", **more)
    with pytest.raises(ValueError, match="ends in .svg or .pdf"):
        pcv.draw(root, tmp_path / "a.png")
    with pytest.raises(ValueError, match="expects a circuit"):
        pcv.draw(7, tmp_path / "a.svg")
    with pytest.raises(FileNotFoundError):
        pcv.draw(root, tmp_path / "none" / "a.svg")
    assert not list(tmp_path.iterdir())
