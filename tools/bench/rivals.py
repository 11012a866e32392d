#!/usr/bin/env python3
"""Tools: CPython's side of the benchmarks.

    rivals.py WORK [argument...]

Does the work that tools/bench measures of passel with the standard library and prints the nanoseconds of one item.
"""
import concurrent.futures
import multiprocessing as mp
import multiprocessing.connection
import multiprocessing.managers
import multiprocessing.pool
import queue
import sys
import threading
import time

WORKERS = 2


def timed(items, work):
    start = time.perf_counter_ns()
    work()
    return (time.perf_counter_ns() - start) / items


def consume(items, answers, count):
    answers.put(0)  # running
    for _ in range(count):
        items.get()
    answers.put(count)


def queue_one_way(size, maxsize, count):
    items, answers = mp.Queue(int(maxsize)), mp.Queue()
    count = int(count)
    item = 1 if int(size) <= 8 else b"x" * int(size)
    peer = mp.Process(target=consume, args=(items, answers, count))
    peer.start()
    answers.get()

    def work():
        for _ in range(count):
            items.put(item)
        answers.get()
    ns = timed(count, work)
    peer.join()
    return ns


def send_back(there, back):
    while (item := there.get()) is not None:
        back.put(item)


def queue_ping_pong(count):
    there, back = mp.Queue(), mp.Queue()
    peer = mp.Process(target=send_back, args=(there, back))
    peer.start()

    def trips(n):
        for _ in range(n):
            there.put(1)
            back.get()
    trips(1)
    ns = timed(int(count), lambda: trips(int(count)))
    there.put(None)
    peer.join()
    return ns


def nothing():
    pass


def process(method, count):
    context = mp.get_context(method)

    def start_and_join(n):
        for _ in range(n):
            child = context.Process(target=nothing)
            child.start()
            child.join()
    start_and_join(1)
    return timed(int(count), lambda: start_and_join(int(count)))


def twice(n):
    return 2 * n


def ready_pool():
    pool = mp.Pool(WORKERS)
    pool.map(twice, range(100 * WORKERS), 1)
    return pool


def pool_map(chunksize, count):
    with ready_pool() as pool:
        items = list(range(int(count)))
        return timed(len(items), lambda: pool.map(twice, items, int(chunksize) or None))


def pool_submit(count):
    with ready_pool() as pool:
        def work():
            for result in [pool.apply_async(twice, (i,)) for i in range(int(count))]:
                result.get()
        return timed(int(count), work)


def executor_submit(count):
    with concurrent.futures.ProcessPoolExecutor(WORKERS) as executor:
        list(executor.map(twice, range(100 * WORKERS)))

        def work():
            for future in [executor.submit(twice, i) for i in range(int(count))]:
                future.result()
        return timed(int(count), work)


def executor_map(chunksize, count):
    with concurrent.futures.ProcessPoolExecutor(WORKERS) as executor:
        list(executor.map(twice, range(100 * WORKERS)))
        items = list(range(int(count)))
        return timed(len(items), lambda: list(executor.map(twice, items, chunksize=int(chunksize))))


def executor_apply(count):
    with concurrent.futures.ProcessPoolExecutor(WORKERS) as executor:
        list(executor.map(twice, range(100 * WORKERS)))

        def work():
            for i in range(int(count)):
                executor.submit(twice, i).result()
        return timed(int(count), work)


def executor_start(count):
    def work():
        for _ in range(int(count)):
            with concurrent.futures.ProcessPoolExecutor(WORKERS) as executor:
                list(executor.map(twice, range(WORKERS)))
    return timed(int(count), work)


def pool_imap(kind, count):
    with ready_pool() as pool:
        items = range(int(count))
        return timed(len(items), lambda: sum(getattr(pool, kind)(twice, items)))


def pool_start(count):
    def work():
        for _ in range(int(count)):
            with mp.Pool(WORKERS) as pool:
                pool.map(twice, range(WORKERS), 1)
                pool.close()
                pool.join()
    return timed(int(count), work)


def fib(n):
    return n if n < 2 else fib(n - 1) + fib(n - 2)


def sleep_a_millisecond(n):
    time.sleep(0.001)
    return n


def give_back(data):
    return data


def map_one_by_one(pool, function, items):
    with pool:
        return timed(len(items), lambda: pool.map(function, items, 1))


def pool_large(size, count):
    return map_one_by_one(ready_pool(), give_back, [b"x" * int(size)] * int(count))


def pool_apply_large(size, count):
    data = b"x" * int(size)
    with ready_pool() as pool:
        def work():
            for _ in range(int(count)):
                pool.apply(give_back, (data,))
        return timed(int(count), work)


def thread_sleep(count):
    with concurrent.futures.ThreadPoolExecutor(WORKERS) as executor:
        items = range(int(count))
        return timed(len(items), lambda: list(executor.map(sleep_a_millisecond, items)))


def numbers(first, last):
    return range(int(first), int(last) + 1)


def pool_apply(count):
    with ready_pool() as pool:
        def work():
            for i in range(int(count)):
                pool.apply(twice, (i,))
        return timed(int(count), work)


def thread_submit(count):
    with concurrent.futures.ThreadPoolExecutor(WORKERS) as executor:
        def work():
            for future in [executor.submit(twice, i) for i in range(int(count))]:
                future.result()
        return timed(int(count), work)


def thread_apply(count):
    with concurrent.futures.ThreadPoolExecutor(WORKERS) as executor:
        def work():
            for i in range(int(count)):
                executor.submit(twice, i).result()
        return timed(int(count), work)


def thread_map(count):
    with multiprocessing.pool.ThreadPool(WORKERS) as pool:
        items = list(range(int(count)))
        return timed(len(items), lambda: pool.map(twice, items))


def between_threads(kind, pairs, count):
    items = queue.SimpleQueue() if kind == "simple" else queue.Queue(int(kind))
    each = max(1, int(count) // int(pairs))

    def put():
        for i in range(each):
            items.put(i)

    def get():
        for _ in range(each):
            items.get()
    threads = [threading.Thread(target=target) for target in (put, get) for _ in range(int(pairs))]

    def work():
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    return timed(each * int(pairs), work)


def start_thread(count):
    def work():
        for _ in range(int(count)):
            thread = threading.Thread(target=int)
            thread.start()
            thread.join()
    return timed(int(count), work)


HOSTS = {"mp": mp, "threading": threading}
WORKER_OF = {"mp": mp.Process, "threading": threading.Thread}


def take_and_give(kind, host, count):
    lock = getattr(HOSTS[host], kind)()

    def work():
        for _ in range(int(count)):
            lock.acquire()
            lock.release()
    return timed(int(count), work)


def take_often(lock, count):
    for _ in range(count):
        with lock:
            pass


def contend(host, count):
    lock = HOSTS[host].Lock()
    others = [WORKER_OF[host](target=take_often, args=(lock, int(count))) for _ in range(WORKERS)]

    def work():
        for other in others:
            other.start()
        for other in others:
            other.join()
    return timed(WORKERS * int(count), work)


def answer_turns(condition, ready, count):
    with condition:
        ready.set()
        for _ in range(count):
            condition.wait()
            condition.notify()


def turns(host, count):
    condition, ready = HOSTS[host].Condition(), HOSTS[host].Event()
    other = WORKER_OF[host](target=answer_turns, args=(condition, ready, int(count)))
    other.start()
    ready.wait()

    def work():
        with condition:
            for _ in range(int(count)):
                condition.notify()
                condition.wait()
    ns = timed(int(count), work)
    other.join()
    return ns


def wait_in_turn(a, b, awake, count):
    for i in range(count):
        (b if i % 2 else a).wait()
        awake.release()


def event(count):
    a, b, awake = mp.Event(), mp.Event(), mp.Semaphore(0)
    others = [mp.Process(target=wait_in_turn, args=(a, b, awake, int(count))) for _ in range(4)]
    for other in others:
        other.start()

    def work():
        for i in range(int(count)):
            flag = b if i % 2 else a
            flag.set()
            for _ in others:
                awake.acquire()
            flag.clear()
    ns = timed(int(count), work)
    for other in others:
        other.join()
    return ns


def meet_often(barrier, count):
    for _ in range(count):
        barrier.wait()


def barrier(parties, count):
    meeting = mp.Barrier(int(parties))
    others = [mp.Process(target=meet_often, args=(meeting, int(count) + 1)) for _ in range(int(parties) - 1)]
    for other in others:
        other.start()
    meeting.wait()
    ns = timed(int(count), lambda: meet_often(meeting, int(count)))
    for other in others:
        other.join()
    return ns


def started_manager(where):
    manager = multiprocessing.managers.SyncManager(address=("127.0.0.1", 0) if where == "tcp" else None)
    manager.start()
    return manager


def get_often(mapping, count):
    for _ in range(count):
        mapping["key"]


def get_in_company(mapping, reached, go, count):
    mapping["key"]
    reached.release()
    go.wait()
    get_often(mapping, count)
    reached.release()


def manager_get_from_four(manager, count):
    mapping, reached, go = manager.dict(key=1), mp.Semaphore(0), mp.Event()
    others = [mp.Process(target=get_in_company, args=(mapping, reached, go, count)) for _ in range(4)]
    for other in others:
        other.start()
    for _ in others:
        reached.acquire()

    def work():
        go.set()
        for _ in others:
            reached.acquire()
    ns = timed(4 * count, work)
    for other in others:
        other.join()
    return ns


def manager_get(manager, count):
    mapping = manager.dict(key=1)
    mapping["key"]
    return timed(count, lambda: get_often(mapping, count))


def manager_set(manager, count, value=1):
    mapping = manager.dict()
    mapping["key"] = value

    def work():
        for _ in range(count):
            mapping["key"] = value
    return timed(count, work)


def put_often(items, count):
    for i in range(count):
        items.put(i)


def manager_queue(manager, count):
    items = manager.Queue(1000)
    producer = mp.Process(target=put_often, args=(items, count + 1))
    producer.start()
    items.get()

    def work():
        for _ in range(count):
            items.get()
    ns = timed(count, work)
    producer.join()
    return ns


def manager_lock(manager, count):
    lock = manager.Lock()

    def work():
        for _ in range(count):
            lock.acquire()
            lock.release()
    lock.acquire()
    lock.release()
    return timed(count, work)


def manager_connect(manager, count):
    def work():
        for _ in range(count):
            connection = multiprocessing.connection.Client(manager.address, authkey=mp.current_process().authkey)
            multiprocessing.managers.dispatch(connection, None, "number_of_objects")
            connection.close()
    return timed(count, work)


MANAGER_WORK = {
    "get": manager_get,
    "get_from_four": manager_get_from_four,
    "set": manager_set,
    "queue": manager_queue,
    "lock": manager_lock,
    "mebibyte": lambda manager, count: manager_set(manager, count, b"x" * (1 << 20)),
    "connect": manager_connect,
}


def manager(what, where, count):
    if what == "start":
        def work():
            for _ in range(int(count)):
                started_manager(where).shutdown()
        return timed(int(count), work)
    with started_manager(where) as server:
        return MANAGER_WORK[what](server, int(count))


WORK = {
    "queue": queue_one_way,
    "queue_ping_pong": queue_ping_pong,
    "process": process,
    "pool_map": pool_map,
    "pool_submit": pool_submit,
    "executor_submit": executor_submit,
    "pool_apply": pool_apply,
    "pool_imap": pool_imap,
    "pool_start": pool_start,
    "pool_fib": lambda first, last: map_one_by_one(ready_pool(), fib, numbers(first, last)),
    "pool_sleep": lambda count: map_one_by_one(ready_pool(), sleep_a_millisecond, range(int(count))),
    "pool_large": pool_large,
    "pool_apply_large": pool_apply_large,
    "executor_map": executor_map,
    "executor_apply": executor_apply,
    "executor_start": executor_start,
    "thread_fib": lambda first, last: map_one_by_one(mp.pool.ThreadPool(WORKERS), fib, numbers(first, last)),
    "thread_sleep": thread_sleep,
    "thread_submit": thread_submit,
    "thread_apply": thread_apply,
    "thread_map": thread_map,
    "threads": between_threads,
    "thread": start_thread,
    "lock": lambda host, count: take_and_give("Lock", host, count),
    "rlock": lambda host, count: take_and_give("RLock", host, count),
    "semaphore": lambda host, count: take_and_give("BoundedSemaphore", host, count),
    "contend": contend,
    "turns": turns,
    "event": event,
    "barrier": barrier,
    "manager": manager,
}

if __name__ == "__main__":
    if len(sys.argv) < 2 or sys.argv[1] not in WORK:
        sys.exit(__doc__ + "\nwork: " + " ".join(WORK))
    print(f"{WORK[sys.argv[1]](*sys.argv[2:]):.3f}")
