"""A small profile of an ad platform, as a file."""

OWN = """\
base_url = "https://own.example.com"
[sign_in]
static = "api_key"
[list]
path = "/v1/{account}/campaigns"
records = "data"
[fields]
id = "id"
"""
