"""``liif-daemon gimp``: the plug-in where each GIMP of this user looks for it."""

from __future__ import annotations

import typer

from liif_engine.errors import ExitCode

app = typer.Typer(help="The GIMP plug-in.", no_args_is_help=True)


@app.command()
def install() -> int:
    """Puts the plug-in into every GIMP of this user, over an older one, and asks GIMP whether it finds it."""
    from gimp_plugin import gimps
    from gimp_plugin import install as plug_in

    code = ExitCode.OK
    for state in plug_in.install(gimps.places()):
        found = gimps.ask(state.place)
        words = {
            True: "GIMP finds it",
            False: "GIMP does not find it: run it from a terminal and read what it says",
            None: "no GIMP could be asked; it is looked for at GIMP's next start",
        }[found]
        print(f"{state.place.gimp}: {state.state} in {state.place.folder}; {words}")
        if state.place.note:
            print(f"  {state.place.note}")
        if state.state != "installed":
            print("  What was just put there does not read as it was written: see that the folder can be read and that")
            print("  its disk is well, then run this again.")
        if found is False or state.state != "installed":
            code = ExitCode.OUTPUT
    return code


@app.command()
def status() -> None:
    """Says for every GIMP of this user whether it has the plug-in, and with which Python it starts the engine."""
    from gimp_plugin import gimps
    from gimp_plugin import install as plug_in

    places = gimps.places()
    for state in map(plug_in.state, places):
        engine = f", engine in {state.python}" if state.python else ""
        print(f"{state.place.gimp}: {state.state} ({state.place.folder}){engine}")
    if not places:
        print("No GIMP of this user was found; start GIMP once so that it makes its profile.")


@app.command()
def uninstall() -> None:
    """Takes the plug-in out of every GIMP of this user."""
    from gimp_plugin import gimps
    from gimp_plugin import install as plug_in

    removed = plug_in.uninstall(gimps.places())
    for place in removed:
        print(f"{place.gimp}: removed from {place.folder}")
    if not removed:
        print("The plug-in is installed in no GIMP of this user.")
