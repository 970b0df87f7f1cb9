"""Templates from which the head that finds names learns, besides the development half of `planted_templates`.

Written in the styles in which clinicians write: letters, keywords, dictation, messages, minutes, forms. In
`NOBODY` no person is named, though much is written with a capital.
"""

from fedward_simulations.data.planted_templates import Template

NAMED = (
    Template(
        "en",
        """Team huddle, bay 3: {patient_last} for discharge today, {relative_last} waiting for CT, {nurse_first} covers until noon.
{doctor_last} wants the potassium repeated before the scan. Nobody has told {relative_first} that the bed is gone.
Ask {nurse} about the key to the drug cupboard.""",
    ),
    Template(
        "en",
        """Dear {patient_first},

It was good to meet you and {relative_first} on Tuesday. Your blood tests show that the thyroid is working well on Levothyroxine 75
micrograms. I have asked {doctor} at the Eye Clinic to see you about the Graves' orbitopathy. If anything changes, ring {nurse_first},
our specialist nurse, and mention my name.

With best wishes
{doctor_first} {doctor_last}""",
    ),
    Template(
        "en",
        """62M s/p CABG x3. overnight: AF w/ RVR, rate controlled w/ Metoprolol. d/w {doctor_last}, ok to anticoagulate. family ({relative_first})
updated 0930. social: lives w/ {relative}, independent. dispo: tele, {nurse_last} to call Cardiology re TEE. plan per {doctor_initial}.""",
    ),
    Template(
        "en",
        """Present: {doctor}, {nurse}, {relative} (minutes). Apologies: {patient_last}.
1. Hodgkin lymphoma, PET after two cycles Deauville 3: continue ABVD. {doctor_first} to write to the referring unit.
2. Suspected Wegener: ANCA pending. {nurse_first} asked whether Rituximab was funded; {relative_last} will find out.
3. Any other business: none. Next meeting chaired by {nurse_last}.""",
    ),
    Template(
        "en",
        """hi {nurse_first}, quick one about {patient}. her mum {relative_first} rang again, the Movicol isn't working and school (Mrs {relative_last})
says she is soiling daily. can {doctor_first} see them before Easter? otherwise I'd send her to A&E. thanks, {doctor_last}""",
    ),
    Template(
        "en",
        """Full dictation. This is {doctor} dictating on {patient}, spelled as it sounds. The patient's brother, {relative}, came along.
Comma. {patient_last}'s main problem remains dyspnea on exertion. Spirometry by {nurse} shows an obstructive pattern. New paragraph.
{patient_first} smokes Marlboro, a pack a day, and was offered Chantix. Copy to {relative_last} please.""",
    ),
    Template(
        "en",
        """Informant {relative_sorted}
Interviewer {nurse_sorted}
Witness {doctor_sorted}
Child {patient_sorted}
Denver II: Personal-Social normal, Language delayed. Vineland completed by {relative_first}. M-CHAT positive on 4 items.""",
    ),
    Template(
        "en",
        """Incident report. At 02:40 {patient} was found on the floor of Bay 4 by {nurse}. {nurse_last} and {doctor_last} lifted the patient
with a Hoist. Observations: GCS 15, no Battle's sign. According to the neighbour in bed 12, {relative}, he had climbed over the rail.
{doctor_first} reviewed at 03:05: no Fracture. Family informed by {nurse_first}.""",
    ),
    Template(
        "en",
        """PATHOLOGY. Received from theatre 2, {doctor_last} list, labelled {patient_capitals}. Skin ellipse 22 x 11 x 6 mm. Breslow 0.8 mm, Clark
level III, no ulceration. Melan-A and SOX10 positive. Reported: {nurse_initial}. Second opinion: {relative_initial}, who concurs.""",
    ),
    Template(
        "en",
        """I, {patient}, agree that {doctor} may remove my gallbladder. The risks were explained to me by {nurse}. My healthcare proxy is {relative}.
Translator: {relative_first} {nurse_last}. I have read the leaflet on Laparoscopic Cholecystectomy.""",
    ),
    Template(
        "en",
        """Psych eval: {patient_first} describes hearing the voice of her late husband {relative_first} most evenings. Their children, {nurse_first} and
{doctor_first}, visit on Sundays. Was close to her sister {nurse}. Sertraline increased to 100 mg; Quetiapine at night. Hamilton 19,
Beck 24. {patient_last} is willing to see {doctor_last} weekly. Safety plan shared with {relative_last}.""",
    ),
    Template(
        "en",
        """Genetics. Proband: {patient}. {relative}, the paternal aunt, died of ovarian cancer at 44; {nurse}, her cousin, carries BRCA1 c.68_69delAG.
{doctor_first} {doctor_last} at the Lynch clinic tested MLH1, negative. Pedigree drawn with {relative_first}. Risk by Tyrer-Cuzick 31 %.""",
    ),
    Template(
        "en",
        """ED triage
chief complaint: fall from ladder, brought in by {relative}
triage nurse {nurse_last}, seen 11:02 {doctor_last}, xray read {relative_last}
Ottawa positive. Plan Ibuprofen, Tubigrip, crutches from {nurse_first}. {patient_last} left without waiting.""",
    ),
    Template(
        "en",
        """Pharmacy query about {patient_last}: Warfarin with Clarithromycin, INR 6.1. {nurse} rang the ward and spoke with {doctor_first}; vitamin K given.
Reply from {doctor_last}: agreed, hold two doses. Closed by {relative_initial} at the Anticoagulation Service.""",
    ),
    Template(
        "en",
        """Handover
* bed 1 {patient_last}: Parkinson, Madopar on time!
* bed 2 {relative_last}: post TURP, Foley out at six
* bed 3 {nurse_last}: waiting for Social Services
* bed 4 {doctor}: colleague, be discreet
* bed 5 empty""",
    ),
    Template(
        "en",
        """Many thanks for asking me to see {patient_first} {patient_last}, who came with {relative_first}. On examination Tinel and Phalen were positive.
Nerve conduction by {nurse} confirmed Carpal Tunnel Syndrome. As {doctor_last} pointed out, {relative_last} and {patient_last} both worked in the
Jaguar plant at Coventry. I would be grateful if {doctor_first} could list her. Best, {nurse_initial}""",
    ),
    Template(
        "en",
        """Home visit by {nurse}. Wound over the sacrum, Waterlow 18. {patient_last} sat in the kitchen with {relative}. Dressing: Aquacel, Mepilex border.
{relative_first} asked whether {doctor_last} could prescribe Oramorph. Dog called Bella. Key safe code with {nurse_last}.""",
    ),
    Template(
        "en",
        """Transplant coordinator: donor family thanks {doctor} and {nurse}. Recipient {patient_capitals}. Tacrolimus trough 8.1, Prograf 3 mg BD, Valganciclovir
until September. Biopsy Banff 1A. {relative_last} drove from Dundee. Letter drafted by {nurse_first}, corrected by {doctor_first}.""",
    ),
    Template(
        "en",
        """Physio: {patient} mobilised 20 m with Zimmer frame, {nurse_first} assisting. Berg 38. Stairs tomorrow with {doctor_last}. Complains that {relative_first} never
visits. Goals agreed with {relative_last}: kettle, toilet, Sunday Mass.
Submitted: {nurse_initial}""",
    ),
    Template(
        "en",
        """To whom it may concern. {patient} has been under my care since March. Type 1 Diabetes, Libre 2 sensor, NovoRapid and Lantus. {patient_first} must carry
needles on the flight to Lisbon with {relative}. Questions go to {nurse} of the Joslin team. {doctor}, Endocrinology""",
    ),
    Template(
        "en",
        """Comment {doctor_last}: lesion in segment VII, LI-RADS 4. Comment {nurse_last}: agree. Addendum {doctor_initial}: compared with Outside CT, stable.
Ordered for {patient_last} by {relative_last}. Siemens Somatom, Ultravist 370. Read at the request of {nurse_first} {nurse_last}.""",
    ),
    Template(
        "en",
        """Labour ward. {patient} G2P1, partner {relative_first}. Midwives {nurse_first} and {doctor_first}. Syntocinon started 04:10, Kiwi cup, Apgar 9/10. Baby girl, named
{nurse_first} {patient_last}. Placenta complete. Anti-D given. {doctor_last} sutured with Vicryl. Skin to skin with {relative_last}.""",
    ),
    Template(
        "en",
        """Complaint no. 12. {relative} writes that {nurse} was rude to {patient_first} in Radiology, and that {doctor_last} laughed. {nurse_last} denies this. The Matron has
spoken with {doctor_first}. {relative_last} accepts an apology and wishes Oak Lodge well.""",
    ),
    Template(
        "de",
        """Übergabe Frühdienst: {patient_last} ist nüchtern, {relative_last} bekommt noch ein EK, {nurse_first} macht die Kurve. {doctor_last} möchte das Kalium
kontrolliert haben. Zimmer 7 {nurse_last}: Dekubitus Grad II, Mepilex. {relative_first} hat angerufen, kommt um Vier.""",
    ),
    Template(
        "de",
        """Liebe {nurse_first},
kurz zu {patient}: die Mutter {relative_first} war heute hier, das Movicol hilft nicht. Kann {doctor_first} vor Ostern einen Termin frei machen?
{relative_last} arbeitet bei Bosch und kann nur am Nachmittag. Danke und Grüße, {doctor_last}""",
    ),
    Template(
        "de",
        """Diktat {doctor}, schreibt {nurse_last}. Betrifft {patient}. Komma der Patient kam in Begleitung von {relative}. Absatz. Befund Doppelpunkt Lungen frei,
Herztöne rein. Procedere wie mit {nurse} besprochen. {patient_last} wünscht Kopie an {relative_last}. Ende Diktat.""",
    ),
    Template(
        "de",
        """Tumorkonferenz. Teilnehmer: {doctor}, {nurse}, {relative}. Vorgestellt durch {doctor_last}: {patient_sorted}, Adenokarzinom des Colon ascendens,
pT3 pN1a. Empfehlung FOLFOX. {nurse_last} klärt Portanlage. Einwand {relative_last}: Polyneuropathie, daher Oxaliplatin reduziert.
Protokoll {nurse_initial}""",
    ),
    Template(
        "de",
        """Sturzprotokoll: {patient} wurde um 2 Uhr von {nurse} vor dem Bett gefunden. {doctor_first} {doctor_last} untersuchte, kein Anhalt für Fraktur. Angehörige ({relative_first})
verständigt. Bettnachbar {relative} gibt an, er habe Wasser holen wollen. {nurse_last} bringt Bettgitter an.""",
    ),
    Template(
        "de",
        """Sehr geehrte Familie {relative_last},
bei {patient_first} besteht eine Neurodermitis. Bitte Elidel morgens, Basispflege mit Physiogel. {nurse} zeigt {relative_first} das Eincremen. Im Herbst
Kontrolle bei {doctor} in der Charité. Das Attest für den Kindergarten liegt bei {nurse_last} am Tresen.
Ihr {doctor_first} {doctor_last}""",
    ),
    Template(
        "de",
        """Psychiatrisches Konsil. {patient_first} {patient_last} berichtet vom Tod seiner Frau {relative_first}. Die Kinder {nurse_first} und {doctor_first} wohnen in Hamburg. Stimmung gedrückt,
Hamilton 21. Mirtazapin 15 mg. Rücksprache {doctor_last}, {nurse_last}. Betreuung über {relative} ist angeregt.""",
    ),
    Template(
        "de",
        """Pflegebericht: {patient_last} heute mobiler, mit {nurse_first} bis zum Fenster. {relative} brachte Wäsche. Laut {doctor_last} Verband alle zwei Tage. Appetit mäßig,
trank Tee. {relative_first} fragt nach Pflegegrad; {nurse_last} vom Sozialdienst meldet sich. Nachtwache: {doctor_first}.""",
    ),
    Template(
        "de",
        """OP-Bericht
Operateur {doctor}, 1. Assistent {nurse}, Narkose {relative}. {patient_capitals}. Bauchlage, Stryker-Fräse, Palacos. Schnitt-Naht 72 min. Redon ex am zweiten Tag
durch {nurse_last}. Histologie an {relative_last}. Nachbehandlung nach {doctor_last}: Teilbelastung.""",
    ),
    Template(
        "de",
        """Gutachten in der Sache {patient_last} gegen Allianz. Der Kläger {patient} stürzte am Gerüst der Firma Hochtief. Zeuge {relative} sah den Unfall, Zeugin {nurse} nicht.
Nach {doctor_last} beträgt die MdE 20 %. {relative_last} sagt, {patient_first} habe vorher nie Schmerzen gehabt. Gutachter {doctor_initial}""",
    ),
    Template(
        "de",
        """Notaufnahme: Sturz vom Rad, gebracht von {relative}. Triage {nurse_last}, Arzt {doctor_last}, Röntgen {nurse_first}. Ottawa positiv. Aircast, Novaminsulfon. {patient_last} geht gegen Rat.
Anruf von {relative_first} 18 Uhr: Schmerzen besser.""",
    ),
    Template(
        "de",
        """Zytologie, eingesandt von {doctor}, Patientin {patient}. Gruppe Pap II-a. Beurteilt: {nurse_initial}, gegengelesen {relative_initial}. Kommentar {nurse_last}: Kontrolle in
einem Jahr. Telefonisch durchgegeben an {relative_first}.""",
    ),
    Template(
        "de",
        """Humangenetik: Indexpatientin {patient}. Tante {relative} mit Mammakarzinom, Cousine {nurse} Trägerin BRCA2. Stammbaum mit {relative_first} gezeichnet. {doctor_first} {doctor_last} berät.
Zweitmeinung bei {nurse_last} in Köln. Kopie an {relative_last}, bitte vertraulich.""",
    ),
    Template(
        "de",
        """Kreißsaal. {patient}, Partner {relative_first}. Hebamme {nurse}. Oxytocin ab 4 Uhr, Apgar 9/10. Mädchen, heißt {nurse_first} {patient_last}. Dammnaht durch {doctor_last} mit Vicryl. Stillen
mit Hilfe von {nurse_last}. {relative_last} schneidet die Nabelschnur.""",
    ),
    Template(
        "de",
        """Aktennotiz. {nurse} aus der Apotheke: bei {patient_last} Marcumar und Clarithromycin, INR 6. {doctor_first} informiert, Konakion gegeben. {doctor_last} bestätigt. Erledigt {relative_initial}.
Weitergabe an {nurse_first} und {relative_last}.""",
    ),
)

NOBODY = (
    Template(
        "en",
        """Impression: Parkinson disease, Hoehn and Yahr 3. Continue Sinemet and Azilect. Hashimoto thyroiditis, Barrett esophagus, Baker cyst. Kocher
incision, Foley catheter, Swan-Ganz via Seldinger technique. Trendelenburg and Romberg negative. Wells score 2, Child-Pugh B, Gleason 3+4.
Framingham risk 12 %. Follow-up at Mayo Clinic, Johns Hopkins or Mount Sinai. Sent from iPhone, recorded by Dragon Medical.""",
    ),
    Template(
        "en",
        """Allergies: Penicillin, Bactrim, Latex. Home meds: Lipitor, Plavix, Coumadin, Eliquis, Lantus, Humalog, Zoloft, Tylenol, Synthroid, Norvasc, Zestril.
Immunisations: Pfizer, Moderna, Shingrix, Prevnar, Boostrix. Cultures: Escherichia coli, Staphylococcus aureus, Candida albicans, Klebsiella.
Devices: Medtronic Micra, Boston Scientific lead, Omnipod, Dexcom, Zimmer frame, GE Healthcare, Philips Intellivue.""",
    ),
    Template(
        "en",
        """Monday Physiotherapy, Tuesday Dialysis, Wednesday Oncology, Thursday Christmas Day, Friday Good Friday, Easter Sunday. Bed in Maple Ward, later Cedar
House and Rose Unit. Lives in Manchester, worked for Ford and British Airways, served in Vietnam, likes Italian food and Guinness. Jehovah's
Witness, Catholic, Muslim, Hindu. Travelled to Kenya, India, New York, Paris and South Wales in July and August.""",
    ),
    Template(
        "en",
        """MEDICATIONS ON DISCHARGE
Amlodipine Besylate 5 MG Oral Tablet
Metformin Hydrochloride 500 MG Extended Release
Aspirin EC 81 MG
VITALS Temp 98.6 HR 72 BP 118/70 RR 16 SpO2 99
General: No Acute Distress. Neck: Supple. Lungs: Clear. Heart: Regular Rate and Rhythm. Abdomen: Soft, Non-tender. Skin: Warm, Dry. Psych: Normal Affect.
Social History: Never Smoker. Lives Alone. Retired Teacher. Code Status: Full. Advance Directive on File.""",
    ),
    Template(
        "en",
        """The Cox model and the Kaplan-Meier curve were fitted by the Wilson method; Fisher, Wilcoxon and Student tests followed. Bayes factors, Markov chains,
Poisson counts and Gaussian noise. The Declaration of Helsinki was followed. Cochrane, PubMed and Lancet were searched. Epworth, Hamilton, Beck,
Edinburgh and Glasgow scales. Sanger sequencing, Western blot, Petri dish, Bunsen burner, Giemsa and Ziehl-Neelsen stain.""",
    ),
    Template(
        "en",
        """Please fast from Midnight. Take Your Tablets With Water. Bring Your Insurance Card. Call the Clinic If You Have Fever, Chills or Bleeding.
The Emergency Department is open at all times; ask the Charge Nurse, the Ward Clerk or the Patient Advocate. Parking at Gate B, Red Cross
Building, next to the Marks and Spencer store. Thank You for Choosing Our Hospital.""",
    ),
    Template(
        "en",
        """Modality MR  Manufacturer SIEMENS  StationName AVANTO1  ProtocolName T2 TSE SAG  BodyPart LSPINE  SeriesDescription Localizer  Institution General Hospital
PatientPosition HFS  Laterality L  SOPClass MR Image Storage  Comment Motion Artifact  Contrast Dotarem  Study Brain With And Without""",
    ),
    Template(
        "en",
        """Sodium 139, Potassium 4.1, Chloride 102, Bicarbonate 24, Urea 5.2, Creatinine 78, Albumin 41, Bilirubin 9, ALT 22, Troponin T 8, Ferritin 120, Vitamin D 44,
Factor V Leiden negative, Lupus anticoagulant negative, Coombs negative, Rhesus positive, Duffy and Kell typed, Bence Jones protein absent.""",
    ),
    Template(
        "de",
        """Beurteilung: Morbus Parkinson, Hoehn und Yahr III. Morbus Bechterew, Morbus Basedow, Hashimoto-Thyreoiditis, Colitis, Divertikulose, Z. n. Billroth II.
Lasègue, Babinski und Romberg negativ. Braunüle, Redon-Drainage, Tenckhoff-Katheter, Thomas-Splint. Weiter in der Schön Klinik, der Charité, dem
Klinikum Großhadern oder bei Helios. Krankenkasse: Barmer, Techniker, Allianz, Debeka. Marburger Bund, Robert-Koch-Institut, Paul-Ehrlich-Institut.""",
    ),
    Template(
        "de",
        """Medikation bei Entlassung: Ramipril, Bisoprolol, Pantozol, Marcumar, Eliquis, Novalgin, Ibuprofen, Euthyrox, Torem, Simvastatin, Metformin, Lantus, Tavor, Cipramil.
Allergien: Penicillin, Pollen, Hausstaub, Nickel. Impfungen: Masern, Mumps, Röteln, Tetanus, Grippe, Zoster. Erreger: Escherichia coli, Klebsiellen,
Pilze, Noroviren. Geräte: Rollator, Hausnotruf, Treppenlift, Pflegebett, Siemens, Dräger, Fresenius, Roche, Braun.""",
    ),
    Template(
        "de",
        """Montag Gymnastik, Dienstag Dialyse, Mittwoch Visite, Donnerstag Himmelfahrt, Freitag Karfreitag, Sonntag Ostern. Wohnt in München, Köln oder Zürich, arbeitete bei
Siemens und Bosch, Urlaub in Italien, Kroatien, am Bodensee und auf Rügen im Juli und August. Beruf: Bäcker, Schneider, Lehrer, Müller, Koch,
Schuster, Richter, Bauer. Familienstand: Witwe. Religion: Evangelisch. Hobbys: Garten, Wandern, Chor, Fußball, Skat.""",
    ),
    Template(
        "de",
        """Allgemeinzustand gut, Ernährungszustand adipös. Haut und Schleimhäute feucht, Lunge frei, Herz rein, Abdomen weich, Leber und Milz nicht tastbar, Nierenlager frei,
Wirbelsäule ohne Klopfschmerz, Pulse tastbar, Ödeme keine. Neurologisch ohne Befund. Beurteilung im Röntgen: Zwerchfell, Mediastinum, Hilus, Pleura
ohne Auffälligkeit. Prozedere: Bettruhe, Flüssigkeit, Physiotherapie, Antibiose, Kontrolle, Entlassung, Anschlussheilbehandlung, Pflegedienst.""",
    ),
    Template(
        "de",
        """Bitte nüchtern kommen. Bringen Sie Ihre Versichertenkarte, den Medikamentenplan und die Überweisung mit. Bei Fieber, Blutung oder Atemnot rufen Sie die Ambulanz an. Der
Empfang, die Stationsleitung, der Sozialdienst und die Seelsorge helfen gern. Parken im Parkhaus Süd, Eingang Rotes Kreuz, neben Aldi und Rossmann.
Mit freundlichen Grüßen, Ihr Team der Klinik für Innere Medizin, Sekretariat, Zentrale, Verwaltung""",
    ),
    Template(
        "de",
        """Natrium 139, Kalium 4,1, Kreatinin 0,9, Harnstoff 30, Bilirubin 0,5, Ferritin 120, Quick 98 %, Leukozyten 7,1, Thrombozyten 230, Hämoglobin 14, Troponin negativ,
Faktor-V-Leiden negativ, Coombs-Test negativ, Rhesus positiv, Borrelien negativ, Urin: Nitrit, Eiweiß, Glukose, Ketone negativ, Sediment unauffällig.""",
    ),
)
