from adsyncd.config.templates import as_headers, as_json, as_texts


def test_a_body_is_written_as_it_is_sent() -> None:
    assert as_json({"a": ["{account}", 1, True], "é": {}}) == '{"a":["{account}",1,true],"é":{}}'
    assert as_json(None) is None
    assert as_json({}) == "{}"


def test_texts_keep_their_order() -> None:
    assert as_texts({"b": "1", "a": "2"}) == (("b", "1"), ("a", "2"))


def test_header_fields_are_named_in_lower_case() -> None:
    assert as_headers({"X-Api-Key": "{secret.key}"}) == (("x-api-key", "{secret.key}"),)
