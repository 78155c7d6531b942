"""Credentials are taken out of what is stored for people, and nothing else is."""

from __future__ import annotations

import pytest

from integration.redaction import redact, redact_bytes, redact_json

# Put together here, so that no scanner of this repository takes them for real ones.
BODY = "Abc123dEf456Ghi789jKl012Mno345pQr678StU9"
SECRETS = {
    "GitHub token": "ghp_" + BODY[:36],
    "AWS access key": "AKIA" + "QWERTYUIOPASDFGH",
    "Slack token": "xoxb-" + "1234567890-" + BODY[:24],
    "Autopack token": "apk_" + BODY + "xyz",
    "JSON web token": "eyJ" + BODY[:20] + ".eyJ" + BODY[:20] + "." + BODY[:20],
}


@pytest.mark.parametrize(("kind", "secret"), SECRETS.items())
def test_a_credential_is_replaced_by_its_kind(kind: str, secret: str) -> None:
    assert redact(f"using {secret}, then done") == f"using [redacted: {kind}], then done"


def test_every_occurrence_goes() -> None:
    secret = SECRETS["GitHub token"]
    assert redact(f"{secret} {secret}\n+{secret}").count("[redacted: GitHub token]") == 3


@pytest.mark.parametrize("line_end", ["\n", "\n+", "\\n"])
def test_a_private_key_goes_with_its_body(line_end: str) -> None:
    key = line_end.join(
        ["-----BEGIN RSA PRIVATE" + " KEY-----", BODY, BODY, "-----END RSA PRIVATE" + " KEY-----"]
    )
    assert redact(f"before {key} after") == "before [redacted: private key] after"


def test_a_private_key_without_an_end_hides_what_follows() -> None:
    assert redact("x -----BEGIN PRIVATE" + f" KEY-----\n{BODY}") == "x [redacted: private key]"


def test_a_url_keeps_its_host_and_loses_its_password() -> None:
    assert (
        redact("postgres://app:hunter2@db.example/x")
        == "postgres://app:[redacted: password in a URL]@db.example/x"
    )
    assert redact(f"https://{BODY}@git.example/x") == "https://[redacted: credential in a URL]@git.example/x"


def test_an_authorization_header_loses_its_credential() -> None:
    assert redact(f"Authorization: Bearer {BODY}") == "Authorization: Bearer [redacted: credential]"


def test_a_random_value_assigned_to_a_name_of_secrets_goes() -> None:
    assert BODY not in redact(f'DB_PASSWORD = "{BODY}"')


@pytest.mark.parametrize(
    "text",
    [
        "0123456789abcdef0123456789abcdef01234567",
        "see https://docs.example/a@b and mail me@example.org",
        'password = "changeme-changeme-changeme"',
        "bearer of bad news",
        "tokens_used: 500000000000000000000000",
        "ghp_short",
        "",
    ],
)
def test_ordinary_text_stays_as_it_is(text: str) -> None:
    assert redact(text) == text


def test_bytes_that_are_no_utf8_are_kept() -> None:
    secret = SECRETS["GitHub token"].encode()
    assert redact_bytes(b"\xff" + b" " + secret + b"\xfe") == b"\xff [redacted: GitHub token]\xfe"


def test_json_is_redacted_in_depth_and_no_entry_is_lost() -> None:
    one, two = SECRETS["GitHub token"], SECRETS["GitHub token"][:-1] + "0"
    shown = redact_json({"n": 1, "list": [{"k": one}], one: "a", two: "b"})
    assert shown == {
        "n": 1,
        "list": [{"k": "[redacted: GitHub token]"}],
        "[redacted: GitHub token]": "b",
        "[redacted: GitHub token] #2": "a",
    }


def test_no_escape_of_json_hides_a_secret() -> None:
    quoted = redact_json({"log": f'password = "{BODY}"\nsecond line'})
    assert quoted == {"log": 'password = "[redacted: value assigned to a name of secrets]"\nsecond line'}
    key = "-----BEGIN PRIVATE" + f" KEY-----\n{BODY}\n-----END PRIVATE" + " KEY-----"
    assert redact_json([key, "kept as it is"]) == ["[redacted: private key]", "kept as it is"]
    assert redact_json([f'x\t"{SECRETS["GitHub token"]}"']) == ['x\t"[redacted: GitHub token]"']
