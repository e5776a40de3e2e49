"""Runs in a served engine's own process, so that a process that serves outlives its engine.

    python -m thickets.tasks.serving.engine_main CHANNEL PARENT     (a file descriptor and a process id)

Started by `engine_child`. The first message in is an `EngineSpec`, every further one a `Generate`.
"""

from __future__ import annotations

import os
import sys
from multiprocessing.connection import Connection

from thickets.storage.errors import InputError
from thickets.tasks.child_process import die_with
from thickets.tasks.engines import build_engine
from thickets.tasks.engines.base import Engine
from thickets.tasks.serving.engine_messages import Built, Failed, Generate, Generated


def serve(channel: Connection) -> None:
    """Answer every request until the channel ends, or something fails that is not the request's own fault."""
    try:
        engine = build_engine(channel.recv())
    except BaseException as error:
        channel.send(Failed.by(error))
        return
    channel.send(Built())
    while True:
        try:
            channel.send(_answer(engine, channel.recv()))
        except (EOFError, OSError):
            raise
        except InputError as error:
            channel.send(Failed.by(error))
        except BaseException as error:  # weights may be half written: another engine takes its place
            channel.send(Failed.by(error))
            return


def _answer(engine: Engine, request: Generate) -> Generated:
    engine.load(request.weights)  # what it holds already it does not load again
    if request.upcoming is not None:
        engine.prepare(request.upcoming)
    return Generated(tuple(engine.generate(request.prompts, request.sampling)))


def main() -> None:
    """Serve until the other end of the channel closes."""
    channel, parent = map(int, sys.argv[1:])
    die_with(parent)
    os.dup2(2, 1)  # standard output is for what the command has to say
    try:
        serve(Connection(channel))
    except (EOFError, OSError):  # the other end is closed
        pass
    finally:
        sys.stderr.flush()
        os._exit(0)


if __name__ == "__main__":
    main()
