"""Makes ``twistd kipuka`` known to Twisted. The application itself is imported only when it is asked for."""

from twisted.application.service import ServiceMaker

kipuka = ServiceMaker(  # type: ignore[no-untyped-call]
    "kipuka", "kipuka.tap", "EST registration authority (RFC 7030)", "kipuka"
)
