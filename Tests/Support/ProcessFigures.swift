import Foundation

/// What the kernel says about a process. Source: proc(5).
public struct ProcessFigures: Sendable {
    /// Memory that is in use, in KiB, and the most that ever was.
    public let residentKiB: Int
    public let peakResidentKiB: Int
    /// Descriptors that are open.
    public let descriptors: Int
    public let softDescriptorLimit: Int
    public let hardDescriptorLimit: Int

    /// - Throws: when there is no such process, or no such kernel.
    init(of process: pid_t) throws {
        let directory = "/proc/\(process)"
        let status = try String(contentsOfFile: "\(directory)/status", encoding: .utf8)
        let limits = try String(contentsOfFile: "\(directory)/limits", encoding: .utf8)
        let open = limits.split(separator: "\n").first { $0.hasPrefix("Max open files") } ?? ""
        let numbers = open.split(separator: " ").compactMap { Int($0) }
        residentKiB = Self.number("VmRSS:", in: status)
        peakResidentKiB = Self.number("VmHWM:", in: status)
        descriptors = try FileManager.default.contentsOfDirectory(atPath: "\(directory)/fd").count
        softDescriptorLimit = numbers.first ?? 0
        hardDescriptorLimit = numbers.last ?? 0
    }

    /// Whether memory is the program's alone: AddressSanitizer takes more with everything, and keeps what was freed.
    /// The tests and what they run are built alike.
    public static var tellOfMemory: Bool {
        dlsym(nil, "__asan_init") == nil
    }

    private static func number(_ name: String, in text: String) -> Int {
        let line = text.split(separator: "\n").first { $0.hasPrefix(name) }
        return line?.split(whereSeparator: \.isWhitespace).dropFirst().first.flatMap { Int($0) } ?? 0
    }
}

extension RunningService {
    /// The processor time that it has used, in user and system mode. Source: clock_getcpuclockid(3).
    public var processorTime: Duration {
        var clock = clockid_t()
        var time = timespec()
        guard clock_getcpuclockid(processID, &clock) == 0, clock_gettime(clock, &time) == 0 else { return .zero }
        return .seconds(time.tv_sec) + .nanoseconds(time.tv_nsec)
    }

    /// What the kernel says about it.
    public var figures: ProcessFigures {
        get throws { try ProcessFigures(of: processID) }
    }
}
