from adsyncd.config.templates import as_json, as_texts, leaves


def test_a_body_is_written_as_it_is_sent() -> None:
    assert as_json({"a": ["{account}", 1, True], "é": {}}) == '{"a":["{account}",1,true],"é":{}}'
    assert as_json(None) is None
    assert as_json({}) == "{}"


def test_texts_keep_their_order() -> None:
    assert as_texts({"b": "1", "a": "2"}) == (("b", "1"), ("a", "2"))


def test_the_texts_in_a_table_are_found_each_with_its_key() -> None:
    table = {"a": "1", "b": {"c": ["2", {"d": "3"}], "e": 4}}
    assert list(leaves(("json",), table)) == [
        (("json", "a"), "1"),
        (("json", "b", "c"), "2"),
        (("json", "b", "c", "d"), "3"),
    ]
