#if canImport(Glibc)
    import Glibc
#else
    import Darwin
#endif

/// How many descriptors the process may have open at one time, sockets included.
///
/// The soft limit is 1,024 in many places, for the sake of programs that use `select`. This one doesn't.
enum DescriptorLimit {
    /// As many as anybody needs; the hard limit can be a thousand millions.
    private static let ceiling: rlim_t = 1 << 20

    /// Raises the soft limit to the hard one.
    ///
    /// - Returns: the limit that holds.
    ///
    /// Source: getrlimit(2).
    static func raise() -> Int {
        #if canImport(Glibc)
            let resource = __rlimit_resource_t(RLIMIT_NOFILE.rawValue)
        #else
            let resource = RLIMIT_NOFILE
        #endif
        var limit = rlimit()
        guard getrlimit(resource, &limit) == 0 else { return 1024 }
        let wanted = max(limit.rlim_cur, min(limit.rlim_max, ceiling))
        var raised = rlimit(rlim_cur: wanted, rlim_max: limit.rlim_max)
        return Int(clamping: setrlimit(resource, &raised) == 0 ? wanted : limit.rlim_cur)
    }
}
