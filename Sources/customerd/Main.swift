import CustomerHTTP
import ArgumentParser
import Configuration
@main struct Main: ParsableCommand { func run() { print("hi") } }
