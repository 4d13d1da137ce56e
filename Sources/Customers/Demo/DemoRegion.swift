/// Where invented customers come from: how people are called there, and how they are phoned.
///
/// Every region has sixteen first and sixteen last names, so that the SQL finds them by multiplication.
struct DemoRegion: Sendable {
    static let namesEach = 16

    /// Of a hundred customers, how many are from here.
    let share: Int
    let currency: String
    /// A phone number; every `#` becomes a digit.
    let phone: String
    /// `name`, or `name|how it is written in an e-mail address` where dropping the accents isn't enough.
    let firstNames: String
    let lastNames: String

    static let all: [DemoRegion] = [
        DemoRegion(
            share: 22, currency: "USD", phone: "+1 202 555 01##",
            firstNames: """
                Olivia Liam Emma Noah Charlotte James Amelia Benjamin Sophia Elijah Harper Marcus Abigail Tyler Naomi \
                Desmond
                """,
            lastNames: """
                Smith Johnson Williams Brown Jones Miller Davis Wilson Anderson Taylor Thomas Washington Bennett O'Connor \
                Reyes Coleman
                """
        ),
        DemoRegion(
            share: 11, currency: "GBP", phone: "+44 20 7946 0###",
            firstNames: """
                Oliver Isla George Freya Arthur Poppy Alfie Florence Rhys Siân Callum Aoife Niamh Gareth Imogen Hamish
                """,
            lastNames: """
                Evans Hughes Clarke Walker MacDonald Fraser Campbell Llewellyn Davies Ashworth Pemberton O'Neill Byrne \
                Fitzgerald Wright Thompson
                """
        ),
        DemoRegion(
            share: 12, currency: "EUR", phone: "+49 30 23125###",
            firstNames: """
                Jörg Anneliese Lukas Hannah Jürgen Lena Matthias Käthe Felix Mia Björn Leonie Günther Franziska Stefan \
                Zoë
                """,
            lastNames: """
                Müller|mueller Schmidt Schneider Fischer Weber Schäfer|schaefer Groß|gross Köhler|koehler Krüger|krueger \
                Hoffmann Vogel Böhm|boehm Zimmermann Weiß|weiss Lehmann Jäger|jaeger
                """
        ),
        DemoRegion(
            share: 9, currency: "EUR", phone: "+33 1 99 00 ## ##",
            firstNames: """
                Camille Hugo Chloé Léo Inès Gaël Élise Théo Maëlys Raphaël Océane Jean-Luc Zoé François Noémie Étienne
                """,
            lastNames: """
                Martin Bernard Dubois Lefèvre Moreau Laurent Girard Béranger Dupont Gauthier Perrin Châtelain Roussel \
                Lemaître Fournier Mercier
                """
        ),
        DemoRegion(
            share: 9, currency: "EUR", phone: "+34 91 555 ####",
            firstNames: """
                Lucía Hugo María Mateo Sofía Martín José Íñigo Carmen Álvaro Nuria Joaquín Begoña Andrés Rocío Iván
                """,
            lastNames: """
                García Rodríguez González Fernández López Martínez Sánchez Pérez Gómez Muñoz Álvarez Núñez Ibáñez Peña \
                Cortés Ordóñez
                """
        ),
        DemoRegion(
            share: 7, currency: "BRL", phone: "+55 11 95555-####",
            firstNames: """
                Miguel Helena João Alice Antônio Laura Thiago Conceição Caio Júlia Otávio Beatriz Luís Letícia Renato \
                Mônica
                """,
            lastNames: """
                Silva Santos Oliveira Souza Araújo Gonçalves Ribeiro Magalhães Carvalho Guimarães Barbosa Simões Teixeira \
                Falcão Nogueira Assunção
                """
        ),
        DemoRegion(
            share: 6, currency: "PLN", phone: "+48 22 555 ## ##",
            firstNames: """
                Zofia Jakub Małgorzata|malgorzata Łukasz|lukasz Agnieszka Paweł|pawel Bożena Michał|michal Grażyna \
                Tomasz Wójciech Ewa Stanisław|stanislaw Katarzyna Władysław|wladyslaw Żaneta
                """,
            lastNames: """
                Nowak Kowalska Wiśniewski Wójcik Zieliński Wróbel Jabłoński|jablonski Dąbrowska Król Piątek Błaszczyk|blaszczyk \
                Gołębiewski|golebiewski Świątek Mazur Łuczak|luczak Żak
                """
        ),
        DemoRegion(
            share: 6, currency: "SEK", phone: "+46 8 465 004 ##",
            firstNames: """
                Astrid Björn Åsa Søren|soren Linnéa Mikkel Göran Ingrid Øyvind|oyvind Märta Håkon Signe Jørgen|jorgen Elin \
                Lars Ylva
                """,
            lastNames: """
                Lindström Andersson Åkesson Nygård Sjöberg Bjørnstad|bjornstad Østergaard|ostergaard Hansen Öberg Nilsson \
                Kjær|kjaer Söderberg Dahl Engström Holmgren Mårtensson
                """
        ),
        DemoRegion(
            share: 6, currency: "INR", phone: "+91 22 5550 ####",
            firstNames: """
                Aarav Ananya Vihaan Priya Rohan Kavya Arjun Meera Sanjay Lakshmi Imran Fatima Harpreet Divya Nikhil Zoya
                """,
            lastNames: """
                Sharma Patel Iyer Reddy Singh Banerjee Nair Kulkarni Chatterjee Khan Desai Krishnamurthy Gill Menon \
                Bhattacharya Joshi
                """
        ),
        DemoRegion(
            share: 5, currency: "JPY", phone: "+81 3-5550-####",
            firstNames: """
                陽翔|haruto 結衣|yui 蓮|ren 美咲|misaki 翔太|shota さくら|sakura 健一|kenichi 恵子|keiko 大輔|daisuke \
                葵|aoi 直樹|naoki 智子|tomoko 拓也|takuya 花子|hanako 誠|makoto 真由美|mayumi
                """,
            lastNames: """
                佐藤|sato 鈴木|suzuki 高橋|takahashi 田中|tanaka 渡辺|watanabe 伊藤|ito 山本|yamamoto 中村|nakamura \
                小林|kobayashi 加藤|kato 吉田|yoshida 山田|yamada 松本|matsumoto 井上|inoue 木村|kimura 清水|shimizu
                """
        ),
        DemoRegion(
            share: 4, currency: "AED", phone: "+971 4 555 ####",
            firstNames: """
                Mohammed Aisha Omar Layla Yusuf Mariam Khalid Noor Hassan Salma Tariq Huda Karim Rania Faisal Amira
                """,
            lastNames: """
                Al-Farsi Haddad El-Sayed Mansour Al-Rashid Khoury Nasser Hamdan Al-Zahrani Saleh Barakat Darwish Aziz \
                Qureshi Al-Mutairi Shahin
                """
        ),
        DemoRegion(
            share: 3, currency: "NGN", phone: "+234 1 555 ####",
            firstNames: """
                Chidi Adaeze Olúwaṣeun|oluwaseun Ngozi Emeka Yétúndé Tunde Amaka Ìbùkún Kelechi Fúnmiláyọ̀|funmilayo Chinwe \
                Babatunde Zainab Ifeanyi Halima
                """,
            lastNames: """
                Okafor Adeyemi Nwosu Balogun Eze Ogunleye Okonkwo Bello Adébáyọ̀|adebayo Ibrahim Uche Ọlátúnjí|olatunji \
                Mohammed Obi Danjuma Akintola
                """
        ),
    ]
}
