"""test_threads_cost.py - threads that nobody asked for cost nothing: the kernel filters them."""
import subprocess

from mwtest import Watch, check, cpu_ns, equal, helper, main, note, test

THREADS = 20000
MOST_MS = 20
OTHER_MS = 0.1  # what one event of the other processes of this machine may cost meanwhile
TRIES = 5


@test(f"{THREADS:,} threads cost the collector less than {MOST_MS} ms of processor time (best of {TRIES})")
def cost():
    best = None
    with Watch("--json") as w:
        for _ in range(TRIES):
            w.marker()
            before, events = cpu_ns(w.pid), len(w.events)
            subprocess.run([helper("threads"), "create", str(THREADS)], check=True)
            w.marker()
            used, others = (cpu_ns(w.pid) - before) / 1e6, len(w.events) - events
            figure = (used - others * OTHER_MS, used, others)
            best = min(best or figure, figure)
            if best[0] < MOST_MS:
                break  # the least says most
        equal(w.stop(), 0, "status")
        check(" 0 lost (proved)" in w.stderr(), w.stderr())
        note(f"{best[1]:.1f} ms of processor time, with {best[2]} events of other processes")
        check(best[0] < MOST_MS, f"{best[1]:.1f} ms, with {best[2]} events of other processes")


if __name__ == "__main__":
    main()
