"""The formats: one file each, with its encoder and its decoder; this table is the only list of them.

To add one: a member of ``ExportFormat``, a row in ``TRAITS`` (``model/options.py``), one file here, one row below.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from penstock.formats import arrow, csv, json_array, ndjson
from penstock.model.options import ExportFormat, Layout
from penstock.ports.format import Buffer, ColumnarEncoder, Decoder, Encoding, TextEncoder


@dataclass(frozen=True, kw_only=True, slots=True)
class Format:
    """How to write and read one format. Exactly one of ``text`` and ``columnar`` is set.

    ``columnar(layout, write, description, streamed, encoding)`` gets the callable that takes the file's bytes,
    key-value text to put inside the file, whether nobody can seek in the result, and who encodes. ``seekable`` says
    that the decoder must seek.
    """

    decoder: Callable[[Layout], Decoder]
    text: Callable[[Layout], TextEncoder] | None = None
    columnar: (
        Callable[[Layout, Callable[[Buffer], object], Mapping[str, str], bool, Encoding], ColumnarEncoder] | None
    ) = None
    seekable: bool = False


def _parquet_encoder(
    layout: Layout,
    write: Callable[[Buffer], object],
    description: Mapping[str, str],
    streamed: bool,
    encoding: Encoding,
) -> ColumnarEncoder:
    from penstock.formats.parquet import ParquetEncoder  # with it come file systems of Arrow's and TLS: 20 ms

    return ParquetEncoder(layout, write, description, streamed, encoding)


def _parquet_decoder(layout: Layout) -> Decoder:
    from penstock.formats.parquet import decoder

    return decoder(layout)


FORMATS: Mapping[ExportFormat, Format] = {
    ExportFormat.JSON: Format(text=json_array.JsonArrayEncoder, decoder=json_array.decoder),
    ExportFormat.NDJSON: Format(text=ndjson.NdjsonEncoder, decoder=ndjson.decoder),
    ExportFormat.CSV: Format(text=csv.CsvEncoder, decoder=csv.decoder),
    ExportFormat.PARQUET: Format(columnar=_parquet_encoder, decoder=_parquet_decoder, seekable=True),
    ExportFormat.ARROW: Format(columnar=arrow.ArrowEncoder, decoder=arrow.decoder, seekable=True),
}
