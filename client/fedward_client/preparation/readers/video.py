"""Video: key frames, at equal distances. What a file says of itself in words is not read.

The demuxer is told what the first bytes say, and no other is tried: there are formats that are lists of
other files. Decoders are those of `CODECS` alone.
"""

import os
import struct
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, NamedTuple

from fedward_client.preparation.documents import Found, Origin
from fedward_client.preparation.spread import MOST_FRAMES, MOST_PIXELS, spread
from fedward_shared.errors import Unreadable

if TYPE_CHECKING:
    from av.container import InputContainer

NAME, VERSION = "video", 1
ENDINGS: tuple[str, ...] = (".mp4", ".m4v", ".mov", ".avi", ".mkv", ".webm", ".mpg", ".mpeg")
CODECS = frozenset(
    {"av1", "h264", "hevc", "libdav1d", "mjpeg", "mpeg1video", "mpeg2video", "mpeg4", "vp8", "vp9"}
)
MOST_BYTES = 2**33
MOST_SECONDS = 4 * 60 * 60
MICROSECONDS = 10**6
HEAD = 512
"""In bytes: of these the container is told."""

FIRST_LETTER = 0x20
"""Texts begin with no smaller byte, and lengths of boxes with hardly another."""


class Film(NamedTuple):
    """What a video is, before anything of it is decoded; `keys` are the numbers of its key frames."""

    codec: str
    height: int
    width: int
    keys: Sequence[int]


def takes(head: bytes) -> bool:
    """The marks of MP4 and QuickTime, Matroska and WebM, AVI, and MPEG's streams."""
    return _format(head) is not None


def read(path: Path, origin: Origin) -> Iterator[Found]:
    """Pictures, and a remark on what of it was left out."""
    with path.open("rb") as file:
        film = look(file)
        chosen = spread(len(film.keys), MOST_FRAMES)
        said = f"{len(film.keys)} key frames of {film.height} × {film.width}, {film.codec}"
        if origin.mask is None:
            yield origin.remark("frames", f"{said}: not used, text may be burnt in; see --mask")
            return
        if len(chosen) < len(film.keys):
            yield origin.remark("frames", f"{said}: {len(chosen)} are used")
        for number, pixel_HW in zip(
            chosen, decoded(file, [film.keys[one] for one in chosen]), strict=True
        ):
            origin.mask.blacken(pixel_HW)
            yield origin.picture(f"key frame {number + 1}", pixel_HW, kind=NAME)


def look(file: BinaryIO) -> Film:
    """Raises Unreadable for a video that is cut off, too large, or of a kind that is not read."""
    size = file.seek(0, os.SEEK_END)
    if size > MOST_BYTES:
        raise Unreadable(f"a video of more than {MOST_BYTES:,} bytes")
    with _opened(file) as container:
        stream = _stream(container)
        if (container.duration or 0) > MOST_SECONDS * MICROSECONDS:
            raise Unreadable(f"a video of more than {MOST_SECONDS // 3600} hours")
        keys, packets = [], 0
        for packet in container.demux(stream):
            if packet.is_corrupt:
                raise Unreadable("is cut off or spoilt within its frames")
            if packet.size:
                if packet.is_keyframe:
                    keys.append(packets)
                packets += 1
        if packets < stream.frames:
            raise Unreadable("is cut off within its frames")
        if not keys:
            raise Unreadable("there is no key frame in it")
        context = stream.codec_context
        return Film(context.name, context.height, context.width, keys)


def decoded(file: BinaryIO, chosen: Sequence[int]) -> Iterator[Any]:
    """The frames of the packets `chosen`, which are key frames: uint8 [H, W, 3].

    Raises Unreadable where one cannot be decoded.
    """
    wanted, count, got = set(chosen), 0, 0
    with _opened(file) as container:
        stream = _stream(container)
        context = stream.codec_context
        for packet in container.demux(stream):
            if not packet.size:
                continue
            if count in wanted:
                for frame in context.decode(packet):
                    got += 1
                    yield _pixels(frame)
            count += 1
            if count > max(wanted):
                break
        for frame in context.decode(None):
            got += 1
            yield _pixels(frame)
    if got != len(chosen):
        raise Unreadable("a key frame of it cannot be decoded")


def _pixels(frame: Any) -> Any:
    if frame.is_corrupt:
        raise Unreadable("a key frame of it is spoilt")
    if frame.width * frame.height > MOST_PIXELS:
        raise Unreadable(f"a frame has more than {MOST_PIXELS:,} pixels")
    return frame.to_ndarray(format="rgb24", threads=1)


@contextmanager
def _opened(file: BinaryIO) -> "Iterator[InputContainer]":
    import av

    file.seek(0)
    name = _format(file.read(HEAD))
    if name is None:
        raise Unreadable("no video that is read, by its first bytes")
    _check_whole(file, name)
    file.seek(0)
    with av.open(file, "r", format=name, options={"protocol_whitelist": ""}) as container:
        yield container


def _stream(container: "InputContainer") -> Any:
    """The first one of pictures, which decodes on one thread, the same every time."""
    if not container.streams.video:
        raise Unreadable("there are no pictures in it")
    stream = container.streams.video[0]
    context = stream.codec_context
    if context.name not in CODECS:
        raise Unreadable(f"its codec is not read ({context.name[:20]})")
    if not 0 < context.width * context.height <= MOST_PIXELS:
        raise Unreadable(
            f"says that its frames are {context.height:,} × {context.width:,}; at most "
            f"{MOST_PIXELS:,} pixels can be"
        )
    context.thread_count = 1
    context.options = {"max_pixels": str(MOST_PIXELS), "err_detect": "explode"}
    return stream


def _format(head: bytes) -> str | None:
    """FFmpeg's name of the container."""
    if head[4:8] in (b"ftyp", b"moov", b"mdat", b"wide") and head[0] < FIRST_LETTER:
        return "mov"
    if head.startswith(b"\x1aE\xdf\xa3"):
        return "matroska"
    if head.startswith(b"RIFF") and head[8:12] == b"AVI ":
        return "avi"
    if head.startswith(b"\x00\x00\x01\xba"):
        return "mpeg"
    if head[:377:188] == b"GGG" and b"\0" in head:
        return "mpegts"
    return None


def _check_whole(file: BinaryIO, name: str) -> None:
    """FFmpeg takes what is left of a file that was cut off for all of it; its outermost parts say how
    long they are. MPEG's streams do not."""
    size, at = file.seek(0, os.SEEK_END), 0
    measure = {"mov": _box, "avi": _chunk, "matroska": _element}.get(name)
    while measure is not None and at < size:
        file.seek(at)
        length = measure(file.read(16))
        if length is None:
            return
        at += length
        if at > size:
            raise Unreadable("is cut off")


def _box(head: bytes) -> int | None:
    """ISO/IEC 14496-12, 4.2: the length of a box; None for one up to the end of the file."""
    length, _, long = struct.unpack(">I4sQ", head.ljust(16, b"\0"))
    length = long if length == 1 else length
    return length if length >= 8 else None


def _chunk(head: bytes) -> int | None:
    """Of a RIFF file, of which a long AVI has several."""
    if not head.startswith(b"RIFF"):
        return None
    length = int(struct.unpack_from("<I", head.ljust(8, b"\0"), 4)[0])
    return 8 + length + length % 2


def _element(head: bytes) -> int | None:
    """RFC 8794: id and size in one to eight bytes each; None for a size that is not known."""
    begin = _width(head, 4)
    width = _width(head[begin:], 8)
    if not begin or not width:
        return None
    said = head[begin : begin + width]
    size = int.from_bytes(said) & ((1 << 7 * width) - 1)
    return None if size == (1 << 7 * width) - 1 else begin + width + size


def _width(head: bytes, most: int) -> int:
    first = head[0] if head else 0
    return next((n for n in range(1, most + 1) if first & (0x100 >> n)), 0)
