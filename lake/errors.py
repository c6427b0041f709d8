"""Every error that this project raises on purpose.

    MoversError
    ├── SettingError         a setting or an argument that cannot be used
    ├── LakeError            the lake's folder, marker or files
    │   ├── LakeMissing      there is no lake there
    │   ├── LakeUnreachable  its object store does not answer now
    │   ├── LakeUnwritable   the folder cannot be created or written
    │   ├── LakeMismatch     another mode, or a newer schema
    │   └── PublishConflict  somebody else writes under the same names
    │       └── LeaseLost    another machine has taken over this role
    ├── SchemaMismatch       a frame has other columns than its table
    ├── BadName              a path that `lake.layout` cannot spell or parse
    ├── BadFrame             bytes from a venue that cannot be read
    ├── RecordingError       a recording that cannot be replayed
    └── QueryError           a question that the lake cannot answer

Messages name the thing, what was found, and the next step, in one line: the command line prints
them as they are.
"""


class MoversError(Exception):
    """The root: whoever catches it has a message that a person can act on."""


class SettingError(MoversError):
    """A setting or an argument that cannot be used."""


class LakeError(MoversError):
    """Something about the lake's folder, its marker or its files."""


class LakeMissing(LakeError):
    """There is no lake at that place."""


class LakeUnreachable(LakeError):
    """The lake's object store does not answer now; it may later."""


class LakeUnwritable(LakeError):
    """The folder cannot be created or written."""


class LakeMismatch(LakeError):
    """The lake holds another mode, or was written by a newer schema."""


class PublishConflict(LakeError):
    """Somebody else writes under the same names: a published file of that name holds other rows."""


class LeaseLost(PublishConflict):
    """Another machine has taken over the role that this process had on the lake."""


class SchemaMismatch(MoversError):
    """A frame whose columns are not its table's."""


class BadName(MoversError):
    """A name or a path that the layout does not know."""


class BadFrame(MoversError):
    """Bytes from a venue that cannot be read; the reason is the message."""


class RecordingError(MoversError):
    """A recording that cannot be found, recognised or read."""


class QueryError(MoversError):
    """A question that the lake cannot answer."""
