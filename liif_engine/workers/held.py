"""The work that one worker holds, and what becomes of it when the worker dies."""

from __future__ import annotations

from liif_engine.workers.work import Ticket

#: Work that was lost twice to a worker that died before beginning it is given up.
MOST_ATTEMPTS = 3


class Held:
    """An ordinary piece of work and an urgent one at most, for `Worker`, under whose lock all of this is called.

    Attributes:
        tickets: what is held, in the order in which it came.
        running: of these, what was begun and has not ended; the last one is at work, the others wait for it.
    """

    def __init__(self) -> None:
        self.tickets: list[Ticket] = []
        self.running: list[Ticket] = []

    def __bool__(self) -> bool:
        return bool(self.tickets)

    def __contains__(self, ticket: Ticket) -> bool:
        return ticket in self.tickets

    def has_room(self, *, urgent: bool) -> bool:
        """Whether work that is added now would start now, or at the running work's next batch."""
        return not self.tickets or (urgent and len(self.tickets) == 1 and not self.tickets[0].urgent)

    def find(self, number: int) -> Ticket | None:
        """The ticket of this number, if it is held."""
        return next((one for one in self.tickets if one.number == number), None)

    def urgent_first(self) -> list[Ticket]:
        """All, in the order in which a worker is to be given them."""
        return sorted(self.tickets, key=lambda one: not one.urgent)

    def forget(self, ticket: Ticket) -> None:
        """It is over, or was taken away."""
        self.tickets.remove(ticket)
        if ticket in self.running:
            self.running.remove(ticket)

    def is_suspended(self, ticket: Ticket) -> bool:
        """Whether it was begun and waits for urgent work to end."""
        return ticket in self.running[:-1]

    def take_all(self) -> list[Ticket]:
        """What is held, which then is no more."""
        taken = self.tickets
        self.tickets, self.running = [], []
        return taken

    def take_lost(self, *, was_ready: bool, elsewhere: bool, for_good: bool) -> list[Ticket]:
        """After the worker's death: what was at work is lost, what waited behind it starts over in a new process.

        Args:
            was_ready: whether the worker had started.
            elsewhere: whether others may begin lost work again.
            for_good: whether there will be no new process.
        """
        if for_good or (elsewhere and not self.running):
            # That work was begun may have been the worker's last, unheard word.
            lost = list(self.tickets)
        elif self.running:
            lost = [self.running[-1]]
        else:
            lost = [one for one in self.tickets if not was_ready or one.attempts >= MOST_ATTEMPTS]
        self.running.clear()
        # The word that it is not wanted died with the worker.
        lost += [one for one in self.tickets if one.is_stopped and one not in lost]
        for ticket in lost:
            self.forget(ticket)
        return lost
