from __future__ import annotations

from typing import Any

import yaml

from controlplane.publish.alerting.rules import alerting_groups
from controlplane.publish.alerting.written import written
from tests.unit.publish.alerting.rules.histories import LOOSE, STRICT, settings_of

ODD: dict[str, Any] = {
    "texts": ["a", "yes", "1", "é", "it's: #1", "{{ $labels.x }}", ""],
    "lines": "one\ntwo  \n\nthree: 'x'\n",
    "nested": [{"a": [], "b": {}, "c": [1, 2.5, None, True]}, {"long": "word " * 50}],
}


def test_the_fast_dumper_writes_the_same_bytes_as_the_one_that_names_anchors() -> None:
    for tree in (ODD, {"groups": alerting_groups(settings_of({"bert": (STRICT, LOOSE)}))}):
        assert written(tree) == written(tree, {"text that is not there": "name"})
        assert yaml.safe_load(written(tree)) == tree


def test_a_text_with_a_name_is_written_once() -> None:
    text = written({"a": "said", "b": ["said"]}, {"said": "it"})
    assert text.splitlines()[1:] == ["a: &it said", "b: [*it]"]
