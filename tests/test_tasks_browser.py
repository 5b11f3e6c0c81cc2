"""Ten things that a person wants to know, each found in the explorer by at most three trusted events and read off the page; the answer
is that of the plan, the model, or the run."""

import pytest
from test_explorer_browser import SIZES, open_explorer, status

pytestmark = pytest.mark.browser
PLAN = "pcv.plan_summary(root, block_size=%d)"
READS = """(lambda n: (lambda v, row: [
    str(int(n.starts[n.number[id(child)]]) + int(row if v.edge_ids is None else v.edge_ids[row][a])) for a, child in enumerate(v.children)
])(n.vectors[n.locate(%d)[0]], n.locate(%d)[1]))(__import__("pcviz.compiler.layering", fromlist=["layering"]).layering(root).numbering)"""


class Hand:
    """A mouse and a keyboard that count: a click, a key, or a text typed in one go are an event each."""

    def __init__(self, lab):
        self.lab, self.events = lab, 0

    def start(self):
        self.events = 0

    def click(self, name):
        self._count()
        self.lab.page.click(f"[data-pcv={name}]")

    def type(self, text):
        self._count()
        self.lab.page.keyboard.type(text)

    def press(self, key):
        self._count()
        self.lab.page.keyboard.press(key)

    def _count(self):
        self.events += 1
        assert self.events <= 3, "more than three events"

    def read(self, selector, column="textContent"):
        """Data-value, or another attribute, of the first that matches, once it is there."""
        element = self.lab.wait(selector)
        return element.inner_text().strip() if column == "textContent" else element.get_attribute(column)

    def number(self, selector):
        return float(self.read(selector, "data-value"))


@pytest.fixture
def hand(lab):
    slider = open_explorer(lab)
    slider.press("Home")
    slider.press("ArrowRight")
    lab.wait("[data-pcv=stage-blocks][data-block-size='2']")
    return Hand(lab)


def test_ten_tasks(hand, lab):
    for task in (most_pseudo_edges, launches_and_why, slowest_launch, least_memory_traffic, padding_at_the_largest_block,
                 what_limits_a_layer, bytes_from_memory, programs_of_a_launch, children_of_a_node, likelihood_of_a_run):  # fmt: skip
        hand.start()
        task(hand, lab)
    lab.assert_clean()


def most_pseudo_edges(hand, lab):
    """Which layer has the most pseudo edges at block size 2?"""
    hand.click("tab-table")
    hand.click("table-sort-pseudo")
    layer = int(hand.read("[data-pcv=stage-table] tbody tr", "data-layer"))
    counts = lab.kernel_eval(f"[layer.pseudo_edges for layer in {PLAN % 2}.layers]")
    assert counts[layer - 1] == max(counts) > 0


def launches_and_why(hand, lab):
    """How many launches has a forward pass, and why: groups of sums and their guards, products and inputs of each layer."""
    hand.click("tab-blocks")
    shown = [hand.number(f"[data-pcv={name}]") for name in ("headline-launches", "blocks-groups-total", "blocks-launches-total")]
    assert [*shown, shown[1]] == lab.kernel_eval(
        f"(lambda plan: [len(pcv.trace(plan, 512, passes=('forward',), impl='triton').launches), plan.num_groups])({PLAN % 2}) * 2"
    )


def slowest_launch(hand, lab):
    """Which launch of the sums takes the longest by the model?"""
    hand.click("tab-table")
    hand.click("table-mode-launches")
    hand.click("table-sort-time_ms")
    name, shown = hand.read("[data-pcv=stage-table] tbody [data-pcv=table-row]"), hand.number("[data-pcv=stage-table] tbody td[data-column=time_ms]")
    launches = lab.kernel_eval(
        f"[(f'{{e.launch.layer}}.{{e.launch.group + 1}}', e.time_ms) for e in pcv.estimate({PLAN % 2}).records if e.launch.phase == 'forward']"
    )
    longest = max(time for _, time in launches)
    assert shown == pytest.approx(longest, rel=1e-4) and dict(launches)[name] == pytest.approx(longest, rel=1e-4)


def least_memory_traffic(hand, lab):
    """Which block size has the least HBM traffic?"""
    hand.click("tab-cost")
    hand.click("cost-table-toggle")
    lab.wait("[data-pcv=cost-table] tr[data-size]")
    shown = {int(size): float(value) for size, value in lab.page.evaluate(
        "() => [...document.querySelectorAll('[data-pcv=cost-table] tr[data-size]')].map(row => [row.dataset.size, row.cells[3].dataset.value])"
    )}  # fmt: skip
    expected = {size: lab.kernel_eval(f"pcv.estimate({PLAN % size}).forward.hbm_bytes") for size in SIZES}
    assert list(shown) == SIZES and min(shown, key=shown.get) == min(expected, key=expected.get)


def padding_at_the_largest_block(hand, lab):
    """What share of the cells is padding at the largest block size?"""
    hand.click("slider")
    hand.press("End")
    lab.wait(f"[data-pcv=headline][data-block-size='{SIZES[-1]}']")
    cells = "sum(g.num_sum_blocks * g.num_child_blocks * g.sum_block * g.child_block for layer in s.layers for g in layer.groups)"
    share = lab.kernel_eval(f"(lambda s: 1 - s.total('edges') / {cells})({PLAN % SIZES[-1]})")
    assert hand.number("[data-pcv=headline-padding]") == pytest.approx(share)


def what_limits_a_layer(hand, lab):
    """What sets the pace of the chosen layer at the largest block size?"""
    hand.click("tab-memory")
    lab.wait(f"[data-pcv=stage-memory][data-block-size='{SIZES[-1]}']")
    words, layer = hand.read("[data-pcv=memory-words]"), int(hand.read("[data-pcv=stage-memory]", "data-layer"))
    times = lab.kernel_eval(
        f"[(e.bound, e.time_ms) for e in pcv.estimate({PLAN % SIZES[-1]}).records if (e.launch.phase, e.launch.layer) == ('forward', {layer})]"
    )
    by = {}
    for name, time in times:
        by[name] = by.get(name, 0) + time
    assert max(by, key=by.get).lower() in words.lower(), words


def bytes_from_memory(hand, lab):
    """How many bytes does the whole circuit take from HBM?"""
    hand.click("tab-memory")
    assert hand.number("[data-pcv=memory-whole-HBM]") == pytest.approx(lab.kernel_eval(f"pcv.estimate({PLAN % SIZES[-1]}).forward.hbm_bytes"))


def programs_of_a_launch(hand, lab):
    """How many programs has the layer's first launch?"""
    hand.click("tab-tiles")
    lab.wait(f"[data-pcv=stage-tiles][data-block-size='{SIZES[-1]}']")
    facts, layer = hand.read("[data-pcv=tiles-facts]"), int(hand.read("[data-pcv=stage-tiles]", "data-layer"))
    programs = lab.kernel_eval(
        f"[e.launch.programs for e in pcv.estimate({PLAN % SIZES[-1]}).records "
        f"if (e.launch.phase, e.launch.layer, e.launch.group) == ('forward', {layer}, 0)]"
    )
    assert f"{programs[0]:,} programs" in facts, facts


def children_of_a_node(hand, lab):
    """Which nodes does node 900 read?"""
    lab.page.click("[data-pcv=tab-dag]")  # the view is open already
    hand.click("dag-find")
    hand.type("900")
    hand.press("Enter")
    lab.wait("[data-pcv=dag-reads] td")
    assert "Node 900 reads " in hand.read("[data-pcv=dag-said]")
    rows = "[...document.querySelectorAll('[data-pcv=dag-reads] tr')].map(row => row.querySelector('td, th[scope=row]')?.textContent)"
    shown = lab.page.evaluate(f"() => {rows}.filter(Boolean)")
    assert shown == lab.kernel_eval(READS % (900, 900))


def likelihood_of_a_run(hand, lab):
    """How many bits per dimension has the first epoch on the test images?"""
    lab.page.click("[data-pcv=tab-training]")
    hand.click("train")
    lab.page.wait_for_function("() => /epoch [2-9]/.test(document.querySelector('[data-pcv=status]').textContent)", timeout=60_000)
    hand.click("stop")
    lab.page.wait_for_function("() => document.querySelector('[data-pcv=status]').textContent.includes('stopped')")
    hand.click("training-table-toggle")
    shown = hand.read("[data-pcv=training-table] tbody tr td:last-child")
    first = lab.kernel_eval("[row['test_bpd'] for row in explorer.rows if row['test_bpd'] == row['test_bpd'] and row['test_bpd'] is not None][0]")
    assert float(shown) == pytest.approx(first, abs=6e-5), status(lab)
