from hypothesis import given
from hypothesis import strategies as st

from guards.checks.index import Document
from guards.checks.meant import likely
from guards.checks.values import alike

IDS = st.text("ab12-_ .É", min_size=1, max_size=12)
LEAVES = IDS | st.integers(0, 99_999) | st.booleans() | st.none()


def bound(value, ref="v1"):
    return Document.of("binding", value, ref, 100_000)[0]


@given(value=IDS | st.integers(0, 99_999), leaves=st.lists(LEAVES, max_size=20))
def test_no_leaf_that_is_alike_is_passed_over(value, leaves):
    """What is sorted out before the comparison is what the comparison would have refused."""
    near, _ = likely(value, "x", [bound({"ids": leaves})])

    assert near == [f"$v1.ids[{i}]" for i, leaf in enumerate(leaves) if alike(value, leaf)][:3]


def test_the_newest_result_comes_first():
    """Of two results that may be meant, the later one is named first; three at most."""
    documents = [bound([{"id": "W-73105"}, {"id": "Z"}], ref) for ref in ("v4", "v3", "v2", "v1")]

    near, named = likely("W-731O5", "id", documents)

    assert near == ["$v4[0].id", "$v3[0].id", "$v2[0].id"]
    assert named == ["$v4[1].id", "$v3[1].id", "$v2[1].id"]


def test_a_field_counts_under_its_name_in_the_plural_and_in_lists():
    """A parameter `id` may mean `id`, `ids` and the members of `ids`."""
    _, named = likely("?", "id", [bound({"id": "Q", "grid": "R", "ids": ["S", "T"]})])

    assert named == ["$v1.id", "$v1.ids[0]", "$v1.ids[1]"]


def test_a_field_may_have_a_name_that_is_no_word():
    """Names in brackets are found as others are."""
    assert likely("?", "order id", [bound({"order id": "Q"})])[1] == ['$v1["order id"]']
