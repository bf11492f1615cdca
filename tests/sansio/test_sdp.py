"""Session descriptions: what we write, what peers in the field write, and what nobody should."""

from __future__ import annotations

import aiortc.sdp
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trio_livekit._sansio.sdp import LocalDescription, SessionDescription, Setup, data_answer, data_offer
from trio_livekit.errors import DecodeError

FINGERPRINT = "sha-256 " + ":".join(["AB"] * 32)
CANDIDATE = "candidate:1 1 udp 2130706431 192.0.2.1 50000 typ host"

LOCAL = LocalDescription(
    ufrag="ufrg", password="p" * 22, fingerprint=FINGERPRINT, setup=Setup.ACTPASS, session_id=4611686018427387904
)
ANSWERING = LocalDescription(
    ufrag="ours", password="q" * 22, fingerprint=FINGERPRINT, setup=Setup.PASSIVE, session_id=7, version=3
)

# As livekit-server 1.13.5 answers a data-only offer.
LIVEKIT_ANSWER = f"""v=0
o=- 4596489990601351948 1720000000 IN IP4 0.0.0.0
s=-
t=0 0
a=msid-semantic:WMS *
a=fingerprint:{FINGERPRINT}
a=group:BUNDLE 0
m=application 9 UDP/DTLS/SCTP webrtc-datachannel
c=IN IP4 0.0.0.0
a=setup:active
a=mid:0
a=sendrecv
a=sctp-port:5000
a=max-message-size:65535
a=ice-ufrag:abcdefghijklmnop
a=ice-pwd:abcdefghijklmnopabcdefghijklmnop
""".replace("\n", "\r\n")

# In the shape of a browser's offer with a microphone, a data channel and a section turned off before.
BROWSER_OFFER = f"""v=0
o=- 1 2 IN IP4 127.0.0.1
s=-
t=0 0
a=group:BUNDLE 0 1
a=extmap-allow-mixed
a=msid-semantic: WMS
m=audio 9 UDP/TLS/RTP/SAVPF 111 0
c=IN IP4 0.0.0.0
a=rtcp:9 IN IP4 0.0.0.0
a=candidate:1 1 udp 2113937151 b2c3.local 54321 typ host generation 0 network-cost 999
a=candidate:2 1 tcp 1518280447 192.0.2.7 9 typ host tcptype active generation 0
a=ice-ufrag:EsAw
a=ice-pwd:bP+XJMM09aR8AiX1jdukzR6Y
a=ice-options:trickle
a=fingerprint:{FINGERPRINT.lower()}
a=setup:actpass
a=mid:0
a=sendrecv
a=rtcp-mux
a=rtpmap:111 opus/48000/2
m=application 9 UDP/DTLS/SCTP webrtc-datachannel
c=IN IP4 0.0.0.0
b=AS:30
a=ice-ufrag:EsAw
a=ice-pwd:bP+XJMM09aR8AiX1jdukzR6Y
a=fingerprint:{FINGERPRINT.lower()}
a=setup:actpass
a=mid:1
a=sctp-port:5000
a=max-message-size:262144
m=video 0 UDP/TLS/RTP/SAVPF 96
c=IN IP4 0.0.0.0
a=mid:2
a=inactive
"""

OLD_OFFER = f"""v=0
o=- 1 1 IN IP6 ::1
s=-
t=0 0
a=ice-ufrag:aaaa
a=ice-pwd:{"b" * 22}
a=fingerprint:{FINGERPRINT}
m=application 0 DTLS/SCTP 5001
a=bundle-only
c=IN IP6 ::
a=setup:active
a=sctpmap:5001 webrtc-datachannel 1024
a=remote-candidates:1 192.0.2.1 5000
"""


def test_offer_line_by_line() -> None:
    assert data_offer(LOCAL).split("\r\n") == [
        "v=0",
        "o=- 4611686018427387904 1 IN IP4 127.0.0.1",
        "s=-",
        "t=0 0",
        "a=group:BUNDLE 0",
        "m=application 9 UDP/DTLS/SCTP webrtc-datachannel",
        "c=IN IP4 0.0.0.0",
        "a=ice-ufrag:ufrg",
        "a=ice-pwd:" + "p" * 22,
        "a=ice-options:trickle",
        "a=fingerprint:" + FINGERPRINT,
        "a=setup:actpass",
        "a=mid:0",
        "a=sctp-port:5000",
        "a=max-message-size:262144",
        "",
    ]


def test_an_offer_reads_back() -> None:
    local = LocalDescription(
        ufrag="u",
        password="p",
        fingerprint=FINGERPRINT,
        setup=Setup.ACTIVE,
        session_id=1,
        candidates=(CANDIDATE, CANDIDATE.replace("50000", "50001")),
        end_of_candidates=True,
        max_message_size=1000,
    )
    remote = SessionDescription.parse(data_offer(local, mid="data"))
    assert (remote.ufrag, remote.password, remote.fingerprints) == ("u", "p", [FINGERPRINT])
    assert remote.setup is Setup.ACTIVE
    assert remote.candidates == list(local.candidates)
    assert remote.end_of_candidates
    assert (remote.sctp_port, remote.max_message_size) == (5000, 1000)
    assert remote.bundle == ["data"] == [remote.data.mid]
    assert not remote.ice_lite


@pytest.mark.parametrize("text", [data_offer(LOCAL), data_answer(SessionDescription.parse(BROWSER_OFFER), ANSWERING)])
def test_another_implementation_reads_what_we_write(text: str) -> None:
    theirs = aiortc.sdp.SessionDescription.parse(text)
    data = next(media for media in theirs.media if media.kind == "application" and media.port)
    assert data.sctp_port == 5000
    assert data.dtls.fingerprints[0].value == FINGERPRINT.split()[1]
    assert data.ice.usernameFragment in ("ufrg", "ours")


def test_a_livekit_answer() -> None:
    remote = SessionDescription.parse(LIVEKIT_ANSWER)
    assert remote.ufrag == "abcdefghijklmnop"
    assert len(remote.password) == 32
    assert remote.fingerprints == [FINGERPRINT]
    assert remote.setup is Setup.ACTIVE
    assert remote.max_message_size == 65535
    assert remote.candidates == []
    assert str(remote) == LIVEKIT_ANSWER


def test_a_browser_offer() -> None:
    remote = SessionDescription.parse(BROWSER_OFFER)
    assert remote.data.mid == "1"
    assert remote.ufrag == "EsAw"
    assert remote.fingerprints == [FINGERPRINT.lower()]
    # Candidates stand only in the section that leads the bundle.
    assert [candidate.split()[2] for candidate in remote.candidates] == ["udp", "tcp"]
    assert remote.candidates[0].startswith("candidate:1 1 udp ")
    assert str(remote) == BROWSER_OFFER.replace("\n", "\r\n")  # with everything that was not understood


def test_answer_to_a_browser_turns_media_down() -> None:
    answer = data_answer(SessionDescription.parse(BROWSER_OFFER), ANSWERING)
    parsed = SessionDescription.parse(answer)
    assert [(media.media, media.rejected, media.mid) for media in parsed.media] == [
        ("audio", True, "0"),
        ("application", False, "1"),
        ("video", True, "2"),
    ]
    assert parsed.bundle == ["1"]
    assert parsed.setup is Setup.PASSIVE
    assert parsed.ufrag == "ours"
    assert "m=audio 0 UDP/TLS/RTP/SAVPF 0\r\n" in answer  # pion asks for the codec of any other payload type
    assert "o=- 7 3 IN IP4 127.0.0.1\r\n" in answer


def test_the_old_form_is_read_and_answered_in_kind() -> None:
    remote = SessionDescription.parse(OLD_OFFER)
    assert (remote.ufrag, remote.setup, remote.sctp_port) == ("aaaa", Setup.ACTIVE, 5001)
    assert remote.max_message_size == 65536
    answer = data_answer(remote, ANSWERING)
    assert "m=application 9 DTLS/SCTP 5001\r\n" in answer
    assert "a=sctpmap:5001 webrtc-datachannel 1024\r\n" in answer
    assert "BUNDLE" not in answer  # none was offered
    assert "a=mid" not in answer


def test_an_answer_must_choose_a_role() -> None:
    with pytest.raises(ValueError, match="handshake"):
        data_answer(SessionDescription.parse(LIVEKIT_ANSWER), LOCAL)


def test_only_the_first_data_section_is_accepted() -> None:
    second = LIVEKIT_ANSWER[LIVEKIT_ANSWER.index("m=") :].replace("mid:0", "mid:1")
    offer = SessionDescription.parse(LIVEKIT_ANSWER.replace("BUNDLE 0", "BUNDLE 0 1") + second)
    parsed = SessionDescription.parse(data_answer(offer, ANSWERING))
    assert [media.rejected for media in parsed.media] == [False, True]
    assert parsed.bundle == ["0"]


@pytest.mark.parametrize(("text", "lite"), [("a=ice-lite\r\n", True), ("", False)])
def test_ice_lite(text: str, lite: bool) -> None:
    assert SessionDescription.parse(LIVEKIT_ANSWER.replace("t=0 0\r\n", "t=0 0\r\n" + text)).ice_lite is lite


def test_media_level_overrides_session_level() -> None:
    other = FINGERPRINT.replace("AB", "CD")
    text = LIVEKIT_ANSWER + f"a=fingerprint:{other}\r\na=fingerprint:sha-512 00\r\n"
    assert SessionDescription.parse(text).fingerprints == [other, "sha-512 00"]


@pytest.mark.parametrize(
    ("line", "size"),
    [
        ("a=max-message-size:1200", 1200),
        ("a=max-message-size:0", 0x7FFFFFFF),
        ("a=max-message-size:9999999999", 0x7FFFFFFF),
        ("a=x-unknown:1", 65536),
    ],
)
def test_max_message_size(line: str, size: int) -> None:
    assert SessionDescription.parse(LIVEKIT_ANSWER.replace("a=max-message-size:65535", line)).max_message_size == size


@pytest.mark.parametrize(
    ("value", "setup"), [("passive", Setup.PASSIVE), ("ACTIVE", Setup.ACTIVE), (None, Setup.ACTPASS)]
)
def test_setup(value: str | None, setup: Setup) -> None:
    replacement = "a=x:1" if value is None else f"a=setup:{value}"
    assert SessionDescription.parse(LIVEKIT_ANSWER.replace("a=setup:active", replacement)).setup is setup


def without(prefix: str) -> str:
    return "".join(line for line in LIVEKIT_ANSWER.splitlines(True) if not line.startswith(prefix))


@pytest.mark.parametrize(
    ("text", "attribute"),
    [
        (without("a=ice-ufrag"), "ufrag"),
        (without("a=ice-pwd"), "password"),
        (without("a=fingerprint"), "fingerprints"),
        (without("m=application").replace("a=setup", "m=audio 9 RTP/AVP 0\r\na=setup"), "ufrag"),
        (LIVEKIT_ANSWER.replace("application 9", "application 0"), "fingerprints"),
        (LIVEKIT_ANSWER.replace("setup:active", "setup:holdconn"), "setup"),
        (LIVEKIT_ANSWER.replace("ice-ufrag:", "ice-ufrag:" + "x" * 300), "ufrag"),
        (LIVEKIT_ANSWER.replace("sctp-port:5000", "sctp-port:65536"), "sctp_port"),
        (LIVEKIT_ANSWER.replace("sctp-port:5000", "sctp-port:٣"), "sctp_port"),
        (LIVEKIT_ANSWER.replace("message-size:65535", "message-size:-1"), "max_message_size"),
    ],
)
def test_what_is_missing_or_wrong_is_a_decode_error(text: str, attribute: str) -> None:
    remote = SessionDescription.parse(text)
    with pytest.raises(DecodeError):
        getattr(remote, attribute)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "\r\n",
        "s=-\r\nv=0\r\n",
        "v=1\r\n",
        "v=0\r\nnonsense\r\n",
        "v=0\r\n=x\r\n",
        "v=0\r\na=\rb\r\n",
        "v=0\r\nm=application 9\r\n",
        "v=0\r\nm=application port UDP/DTLS/SCTP webrtc-datachannel\r\n",
        "v=0\r\nm=application 70000 UDP/DTLS/SCTP webrtc-datachannel\r\n",
        "v=0\r\n" + "m=audio 0 RTP/AVP 0\r\n" * 257,
        "v=0\r\n" + f"a={CANDIDATE}\r\n" * 201,
        "v=0\r\n" + "a=x\r\n" * 60_000,
    ],
    ids=range(13),
)
def test_what_is_no_description(text: str) -> None:
    with pytest.raises(DecodeError):
        SessionDescription.parse(text)


@pytest.mark.parametrize("candidate", ["candidate:1\r\na=ice-ufrag:evil", "candidate:\n"])
def test_a_line_end_cannot_be_smuggled_in(candidate: str) -> None:
    local = LocalDescription("u", "p", FINGERPRINT, Setup.ACTIVE, 1, candidates=(candidate,))
    with pytest.raises(ValueError, match="line end"):
        data_offer(local)


def test_the_password_is_not_in_the_repr() -> None:
    assert LOCAL.password not in repr(LOCAL)


PROPERTIES = [name for name, value in vars(SessionDescription).items() if isinstance(value, property)]


def exercise(text: str) -> None:
    """Whatever the text, nothing but a DecodeError comes out, and what parses survives a round trip."""
    try:
        remote = SessionDescription.parse(text)
    except DecodeError:
        return
    for name in PROPERTIES:
        try:
            getattr(remote, name)
        except DecodeError:
            pass
    try:
        answer = data_answer(remote, ANSWERING)
    except DecodeError:
        pass
    else:
        assert len(SessionDescription.parse(answer).media) == len(remote.media)
    assert str(SessionDescription.parse(str(remote))) == str(remote)


@given(st.text(max_size=200))
def test_any_text(text: str) -> None:
    exercise(text)
    exercise("v=0\n" + text)


lines = BROWSER_OFFER.splitlines() + OLD_OFFER.splitlines() + LIVEKIT_ANSWER.splitlines()


@given(st.lists(st.sampled_from(lines) | st.text(st.characters(codec="utf-8"), max_size=12), max_size=30), st.data())
def test_any_lines(chosen: list[str], data: st.DataObject) -> None:
    text = "\r\n".join(["v=0", *chosen])
    if text and data.draw(st.booleans()):
        position = data.draw(st.integers(0, len(text) - 1))
        text = text[:position] + data.draw(st.characters()) + text[position + 1 :]
    exercise(text)
