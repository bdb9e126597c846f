"""How large a request's head may be: httptools keeps whatever comes until it ends, and uvicorn counts nothing."""

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

MAX_HEAD_BYTES = 65_536
_SAID = b"The head of the request is larger than 64 KiB."
_REFUSAL = (
    b"HTTP/1.1 431 Request Header Fields Too Large\r\ncontent-type: text/plain; charset=utf-8\r\n"
    b"content-length: %d\r\nconnection: close\r\n\r\n%b" % (len(_SAID), _SAID)
)


class HeadTooLarge(Exception):
    """Ends the parsing of a request; uvicorn then closes the connection through `send_400_response`."""


class BoundedHead(HttpToolsProtocol):
    """One connection whose heads are bounded: by what has come of one that has not ended, and again when it ends."""

    _came: int | None = 0  # bytes of a head that has not ended; None between heads
    _too_large = False

    def data_received(self, data: bytes) -> None:
        """Take what came; all of it counts where a head was under way, and is still."""
        under_way = self._came is not None
        super().data_received(data)
        if under_way and self._came is not None:
            self._came += len(data)
            if self._came > MAX_HEAD_BYTES and not self.transport.is_closing():
                self._too_large = True
                self.send_400_response("")

    def on_message_begin(self) -> None:
        """Another head begins."""
        self._came = 0
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        """A head has ended, and goes on to the application.

        Raises:
            HeadTooLarge: it came in one piece, and is too large after all.
        """
        self._came = None
        if len(self.url) + sum(len(name) + len(value) for name, value in self.headers) > MAX_HEAD_BYTES:
            self._too_large = True
            raise HeadTooLarge
        super().on_headers_complete()

    def send_400_response(self, msg: str) -> None:
        """Refuse what cannot be read, or is too large; an answer that is going out is not written into."""
        if self.cycle is not None and not self.cycle.response_complete:
            self.transport.close()
        elif self._too_large:
            self.transport.write(_REFUSAL)
            self.transport.close()
        else:
            super().send_400_response(msg)
