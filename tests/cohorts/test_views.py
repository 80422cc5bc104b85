"""Which images are left out by their views."""

from __future__ import annotations

import pandas as pd
from hypothesis import given
from hypothesis import strategies as st

from cohorts.views import KINDS, are_not_chosen, kind_of_view

VIEWS = st.sampled_from(["PA", "AP", "LATERAL", "LL", "", "LAO", None])


@given(st.lists(VIEWS, max_size=12), st.sets(st.sampled_from(KINDS)))
def test_images_whose_kind_is_not_chosen_are_left_out(views, chosen):
    found = are_not_chosen(pd.Series(views, dtype=object), tuple(chosen))
    assert found.tolist() == [kind_of_view(view or "") not in chosen for view in views]
