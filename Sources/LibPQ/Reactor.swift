import Dispatch
import HeapModule
import NIOConcurrencyHelpers
import Synchronization

#if canImport(Glibc)
    import Glibc
#else
    import Darwin
#endif

/// One thread that waits for sockets and deadlines, and runs the jobs that they cause.
///
/// The connections' actors run on it, and the tasks that use them can, too (``taskExecutor``): then a request goes from
/// statement to statement without a switch of threads, which costs more than libpq's own work. Nothing that runs here
/// may block.
///
/// Source: POSIX, `poll`; Schmidt et al., "Pattern-Oriented Software Architecture" 2, Reactor.
public final class Reactor: SerialExecutor {
    /// The reactor of this process.
    public static let shared = Reactor()

    typealias Handler = @Sendable () -> Void
    /// Receives the events that `poll` reported.
    typealias SocketHandler = @Sendable (Int16) -> Void

    /// Identifies a watch or an alarm.
    struct Registration: Hashable, Sendable {
        fileprivate let number: UInt64
    }

    private enum Work {
        case actor(UnownedJob)
        case task(UnownedJob)
        case call(Handler)
    }

    private struct Watch {
        let descriptor: Int32
        let events: Int16
        let handler: SocketHandler
    }

    private struct Alarm: Comparable {
        let instant: ContinuousClock.Instant
        let registration: Registration

        static func < (one: Alarm, other: Alarm) -> Bool {
            one.instant < other.instant
        }
    }

    private struct State {
        var work: [Work] = []
        var watches: [Registration: Watch] = [:] {
            didSet { haveWatchesChanged = true }
        }
        var haveWatchesChanged = true
        /// What an alarm calls, until it is removed.
        var handlers: [Registration: Handler] = [:]
        /// The next one first. Removed ones are among them until they are due.
        var alarms: Heap<Alarm> = []
        var lastRegistration: UInt64 = 0
        /// The thread waits, or is about to: a change has to wake it.
        var isWaiting = false

        mutating func makeRegistration() -> Registration {
            lastRegistration += 1
            return Registration(number: lastRegistration)
        }

        mutating func removeAlarm(_ registration: Registration) {
            guard handlers.removeValue(forKey: registration) != nil, alarms.count > 2 * handlers.count + 64 else {
                return
            }
            alarms = Heap(alarms.unordered.filter { handlers[$0.registration] != nil })
        }

        /// The first alarm that wasn't removed.
        mutating func nextAlarm() -> Alarm? {
            while let alarm = alarms.min {
                if handlers[alarm.registration] != nil { return alarm }
                alarms.removeMin()
            }
            return nil
        }
    }

    /// The arguments of `poll`, and the watch that each belongs to.
    private struct Polled {
        var descriptors: [pollfd] = []
        var registrations: [Registration] = []
    }

    /// Jobs enqueue jobs: after this many rounds of them it is the sockets' turn.
    private static let mostRounds = 64

    /// A type can't be an executor of actors and of tasks at once, since both take jobs by the same method.
    private final class Tasks: TaskExecutor {
        func enqueue(_ job: consuming ExecutorJob) {
            Reactor.shared.add(.task(UnownedJob(job)))
        }
    }

    /// Runs tasks on the reactor's thread, for `withTaskExecutorPreference`.
    public let taskExecutor: any TaskExecutor = Tasks()

    /// Runs a body there in a task of its own: it isn't canceled with the caller's, and gives its stack back when it ends.
    public func apart<Value: Sendable, Failure: Error>(
        _ body: @escaping @Sendable () async throws(Failure) -> Value
    ) async throws(Failure) -> Value {
        try await Task(executorPreference: taskExecutor) { () -> Result<Value, Failure> in
            do throws(Failure) { return .success(try await body()) } catch { return .failure(error) }
        }.value.get()
    }

    private let state = NIOLockedValueBox(State())
    private let thread = Atomic<UInt>(0)
    /// A pipe: a byte in it wakes the thread.
    private let waking: (read: Int32, write: Int32)

    private init() {
        var ends: [Int32] = [-1, -1]
        guard pipe(&ends) == 0 else { fatalError("no descriptor is left for a pipe") }
        for end in ends {
            _ = fcntl(end, F_SETFL, O_NONBLOCK)
            _ = fcntl(end, F_SETFD, FD_CLOEXEC)
        }
        waking = (ends[0], ends[1])
        // A serial queue without a target has a thread of its own, which this keeps forever.
        DispatchQueue(label: "libpq.reactor").async { [self] in
            thread.store(Self.currentThread, ordering: .releasing)
            // Not `taskExecutor` itself: on it, a task would continue from step to step without queuing. Under a flood
            // of requests, a task with many statements would wait twice as long for each.
            let tasks = Tasks()
            var polled = Polled()
            while true {
                work(tasks.asUnownedTaskExecutor())
                wait(&polled)
            }
        }
    }

    public func enqueue(_ job: consuming ExecutorJob) {
        add(.actor(UnownedJob(job)))
    }

    public func checkIsolated() {
        precondition(isCurrent, "this isn't the reactor's thread")
    }

    /// Runs a closure on the reactor's thread, later.
    func call(_ handler: @escaping Handler) {
        add(.call(handler))
    }

    // MARK: - Watches and alarms

    /// Calls the handler each time that `poll` reports one of the events, until the registration is removed.
    func watch(_ descriptor: Int32, for events: Int32, _ handler: @escaping SocketHandler) -> Registration {
        change { state in
            let registration = state.makeRegistration()
            state.watches[registration] = Watch(descriptor: descriptor, events: Int16(events), handler: handler)
            return registration
        }
    }

    /// Calls the handler once, not before the instant, unless the registration has been removed by then.
    func alarm(at instant: ContinuousClock.Instant, _ handler: @escaping Handler) -> Registration {
        change { state in
            let registration = state.makeRegistration()
            state.handlers[registration] = handler
            state.alarms.insert(Alarm(instant: instant, registration: registration))
            return registration
        }
    }

    /// Called on the reactor's own thread, the handler isn't called again.
    func remove(_ registration: Registration) {
        change { state in
            state.removeAlarm(registration)
            guard state.watches[registration] != nil else { return }
            state.watches[registration] = nil
        }
    }

    // MARK: - Thread

    private static var currentThread: UInt {
        #if canImport(Glibc)
            UInt(pthread_self())
        #else
            UInt(bitPattern: pthread_self())
        #endif
    }

    private var isCurrent: Bool {
        thread.load(ordering: .acquiring) == Self.currentThread
    }

    private func add(_ work: Work) {
        change { $0.work.append(work) }
    }

    private func change<Result: Sendable>(_ body: (inout State) -> Result) -> Result {
        let (result, mustWake) = state.withLockedValue { state in
            let result = body(&state)
            defer { state.isWaiting = false }
            return (result, state.isWaiting)
        }
        if mustWake {
            var byte: UInt8 = 1
            // A full pipe wakes the thread, too.
            _ = write(waking.write, &byte, 1)
        }
        return result
    }

    private func work(_ tasks: UnownedTaskExecutor) {
        for _ in 1...Self.mostRounds {
            let round = state.withLockedValue { state in
                defer { state.work.removeAll() }
                return state.work
            }
            guard !round.isEmpty else { return }
            for work in round {
                switch work {
                case .actor(let job): job.runSynchronously(on: asUnownedSerialExecutor())
                case .task(let job): job.runSynchronously(on: tasks)
                case .call(let handler): handler()
                }
            }
        }
    }

    /// Waits for a socket, an alarm or work, and calls their handlers. It doesn't wait while there is work.
    private func wait(_ polled: inout Polled) {
        let milliseconds = prepare(&polled)
        let count = poll(&polled.descriptors, nfds_t(polled.descriptors.count), milliseconds)
        var ready: [(registration: Registration, events: Int16)] = []
        if count > 0 {
            for (index, registration) in polled.registrations.enumerated() {
                let events = polled.descriptors[index + 1].revents
                if events != 0 { ready.append((registration, events)) }
            }
            if polled.descriptors[0].revents != 0 { drain() }
        }
        let due = takeDue()
        for (registration, events) in ready {
            // One handler may have removed the next one's registration.
            state.withLockedValue { $0.watches[registration]?.handler }?(events)
        }
        for handler in due { handler() }
    }

    private func prepare(_ polled: inout Polled) -> Int32 {
        state.withLockedValue { state in
            if state.haveWatchesChanged {
                state.haveWatchesChanged = false
                polled.registrations = Array(state.watches.keys)
                polled.descriptors =
                    [pollfd(fd: waking.read, events: Int16(POLLIN), revents: 0)]
                    + state.watches.values.map { pollfd(fd: $0.descriptor, events: $0.events, revents: 0) }
            }
            guard state.work.isEmpty else { return 0 }
            state.isWaiting = true
            guard let first = state.nextAlarm() else { return -1 }
            // Rounded up: otherwise it would wake too early, repeatedly.
            let remaining = ContinuousClock.now.duration(to: first.instant).boundedNanoseconds
            return Int32((remaining + 999_999) / 1_000_000)
        }
    }

    private func takeDue() -> [Handler] {
        state.withLockedValue { state in
            state.isWaiting = false
            var due: [Handler] = []
            let now = ContinuousClock.now
            while let alarm = state.nextAlarm(), alarm.instant <= now {
                state.alarms.removeMin()
                if let handler = state.handlers.removeValue(forKey: alarm.registration) { due.append(handler) }
            }
            return due
        }
    }

    private func drain() {
        var bytes: UInt64 = 0
        while read(waking.read, &bytes, MemoryLayout<UInt64>.size) == MemoryLayout<UInt64>.size {}
    }
}

extension Duration {
    /// The duration in nanoseconds, not below zero and not above an hour.
    fileprivate var boundedNanoseconds: Int {
        let bounded = min(max(self, .zero), .seconds(3600))
        return Int(bounded / .nanoseconds(1))
    }
}
