"""Words that names are known by, and words that are no names although they are capitalised.

The given names are the commonest of their countries, written down here; a longer list would find more
and take more clinical words for names. They are not those of any person.
"""


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


GIVEN = _words("""
James John Robert Michael William David Richard Joseph Thomas Charles Christopher Daniel Matthew Anthony
Donald Steven Paul Andrew Joshua Kenneth Kevin Brian George Edward Ronald Timothy Jason Jeffrey Ryan Jacob
Gary Nicholas Eric Jonathan Stephen Larry Justin Scott Brandon Benjamin Samuel Gregory Alexander Patrick
Raymond Dennis Jerry Tyler Aaron Jose Adam Nathan Henry Zachary Douglas Peter Kyle Noah Ethan Jeremy Walter
Keith Terry Harold Sean Gerald Carl Roger Arthur Lawrence Dylan Jesse Jordan Bryan Billy Bruce Gabriel Joe
Logan Alan Juan Albert Willie Elijah Wayne Randy Vincent Mason Roy Ralph Bobby Russell Philip Eugene
Mary Patricia Jennifer Linda Elizabeth Barbara Susan Jessica Sarah Karen Lisa Nancy Betty Margaret Sandra
Ashley Kimberly Emily Donna Michelle Carol Amanda Melissa Deborah Stephanie Rebecca Sharon Laura Cynthia
Dorothy Amy Kathleen Angela Shirley Brenda Emma Anna Pamela Nicole Samantha Katherine Christine Helen Debra
Rachel Carolyn Janet Maria Catherine Heather Diane Olivia Julie Joyce Victoria Ruth Kelly Lauren Christina
Joan Evelyn Judith Andrea Hannah Megan Cheryl Jacqueline Martha Madison Teresa Gloria Sara Janice Ann Abigail
Sophia Frances Alice Judy Isabella Julia Amber Denise Danielle Marilyn Beverly Theresa Diana Natalie Brittany
Marie Kayla Alexis Lori Tracy Claire Lucy Sophie Chloe Oliver Harry Graham Nigel Trevor Colin Ian Gareth Simon
Stuart Martin Neil Clive Leslie Gillian Hilary Fiona Lesley Geoffrey Tom Ben Sam Dan Mike Steve Dave Jim Bob
Kate Jane Anne Jean Jill Sally Wendy Tina Gemma Kirsty Lynn Marian Joanna Joanne Josephine Leon Louis Luke Owen
Hans Peter Wolfgang Klaus Jürgen Dieter Manfred Uwe Günter Günther Horst Bernd Werner Heinz Helmut Gerhard
Andreas Stefan Thomas Michael Frank Markus Matthias Jörg Jens Torsten Thorsten Ralf Rainer Reiner Karl Kurt
Walter Josef Franz Heinrich Georg Herbert Rolf Ulrich Norbert Rudolf Siegfried Ernst Erwin Lothar Volker Holger
Sven Olaf Tobias Florian Sebastian Philipp Lukas Jonas Felix Jan Tim Niklas Maximilian Moritz Johannes Christoph
Joachim Dirk Steffen Detlef Hartmut Harald Gerd Eberhard Friedrich Wilhelm Hermann Erich Otto Emil Anton Ludwig
Ursula Renate Monika Helga Ingrid Karin Brigitte Gisela Petra Sabine Erika Christa Elke Gabriele Ute Birgit
Heike Angelika Claudia Susanne Martina Andrea Anja Katrin Kathrin Silke Stefanie Nadine Melanie Sandra Nicole
Julia Katharina Anke Bettina Cornelia Barbara Eva Elisabeth Hannelore Gerda Hildegard Irmgard Edith Waltraud
Ilse Inge Marianne Rosemarie Gudrun Regina Heidi Hedwig Frieda Charlotte Johanna Margarete Marlies Ulrike
Lena Lea Leonie Lara Luisa Greta Frida Ida Mathilda Klara Antje Astrid Beate Carmen Dagmar Doris Jutta Kerstin
Kirsten Manuela Marion Simone Sonja Tanja Ulla Vera Yvonne Mehmet Mustafa Ahmet Ali Fatma Ayşe Emine Mohammed
Muhammad Ahmed Fatima Aisha Hassan Hussein Omar Ibrahim Yusuf Igor Ivan Olga Svetlana Tatjana Natalia Dmitri
Carlos Luis Miguel Pedro Jorge Antonio Francisco Ana Rosa Carmen Elena Giovanni Giuseppe Marco Paolo Pierre
Jacques Michel Philippe Nathalie Isabelle François Raj Priya Anil Sunil Deepak Ravi Wei Ming Jing Hui Yan
""")
NEEDS_SURNAME = _words("""
Will Mark Rose Grace Hope Faith Art Bill Pat Sue Drew Chase Grant Max Ray Dean Earl Jack Christian Virginia
Georgia Austin Dallas Christian Ivy Joy Dawn Crystal Violet Ruby Iris Daisy Lily Gene Guy Rich Rob Ted Ed Al Fred
April May June August Melody Summer Cliff Glen Heath Miles Chuck Duke Angel Kay Van Don Ken Ron Roy Jean Wei
Ming Jing Hui Yan Ann Tim Jan Kelly Amber Jordan Madison Dylan Mason Ida Vera Alexis Gloria Victoria Sandra
Carmen Regina Marion Leslie Lynn Tracy Terry Carol Joe Art Diana Anke Elke Ute
""")
"""Given names that are words, places or plants as well."""

SURNAMES_TOO = _words("""
Ward House Home Day Best Page Price Blood Pain Head Heart Hand Krebs Herz Mann Morgen Alt Jung
""")
"""Words that are no names, unless a title or a given name stands before them."""
NOT_NAMES = _words("""
Dr Mr Mrs Ms Prof Miss Professor MD RN Hr Frl
The A An This That These He She They It We I You His Her Their Its My Our No Not None All Any Some Each On In At
Of For To From With Without And Or But If When While After Before Since Until During As By Is Are Was Were Be Has
Have Had Will Would Can Could Should May Might Must Do Does Did Patient Patients Pt Name Date Time Age Sex Male
Female Man Woman Boy Girl Mother Father Brother Sister Son Daughter Wife Husband Family Friend Home House Hospital
Clinic Ward Unit Room Bed Department Service Team Office Center Centre Emergency Intensive Care ICU ED ER OR CCU GP
PCP Cardiology Neurology Oncology Surgery Radiology Pathology Psychiatry Pediatrics Paediatrics Dermatology Urology
Nephrology Gastroenterology Haematology Hematology Endocrinology Orthopaedics Orthopedics Ortho Ophthalmology ENT
Physiotherapy Physio Anaesthetics Anesthesia Anaesthesia Rheumatology Respiratory Pulmonology Geriatrics Medicine
Internal General Consultant Consultants Registrar Resident Attending Doctor Physician Surgeon Nurse Nurses Nursing
Pharmacist Pharmacy Therapist Social Worker Midwife Student Staff Interpreter Signed Electronically Dictated History
Past Present Medical Surgical Social Allergies Medications Medication Meds Diagnosis Diagnoses Impression Assessment
Plan Findings Results Result Labs Laboratory Vitals Vital Signs Exam Examination Review Systems Chief Complaint
Discharge Admission Admitted Summary Report Note Notes Letter Follow Followup Up Procedure Imaging CT MRI ECG EKG
Xray Blood Pressure Heart Rate Temperature Pulse Oxygen Weight Height BMI Hemoglobin Haemoglobin Sodium Potassium
Creatinine Glucose Pain Chest Abdomen Left Right Upper Lower Bilateral Acute Chronic Severe Mild Moderate Normal
Stable Type Stage Grade Class Phase Score Scale Test Disease Syndrome Disorder Sign Cancer Carcinoma Diabetes
Hypertension Asthma Pneumonia Infarction Failure Stroke Sepsis Anemia Anaemia Fracture Infection Metformin Aspirin
Insulin Lisinopril Amlodipine Atorvastatin Simvastatin Warfarin Heparin Ramipril Bisoprolol Metoprolol Ibuprofen
Paracetamol Omeprazole Pantoprazole Furosemide Monday Tuesday Wednesday Thursday Friday Saturday Sunday January
February March April June July August September October November December Today Yesterday Tomorrow Dear Sir Madam
Colleague Colleagues Regards Sincerely Yours Thank Thanks Kind Best Phone Fax Tel Email Address DOB MRN SSN ID NHS
Number Ref Unknown Deceased Denies Reports States Unremarkable Negative Positive Status Post Pre Call Contact
Insurance Medicare Medicaid Address Street Road Next Kin Emergency Location Provider Referring Primary
Der Die Das Den Dem Des Ein Eine Einer Eines Einem Einen Er Sie Es Wir Ich Ihr Ihre Ihrer Ihren Sein Seine Und Oder
Aber Wenn Als Am Im In Zum Zur Bei Beim Mit Ohne Nach Vor Seit Von Vom Bis Auf Aus Kein Keine Nicht Patientin
Geburtsdatum Alter Geschlecht Diagnose Diagnosen Anamnese Befund Befunde Therapie Medikation Medikamente Aufnahme
Entlassung Entlassungsbrief Arztbrief Klinik Klinikum Krankenhaus Station Abteilung Ambulanz Praxis Notaufnahme
Intensivstation Kardiologie Neurologie Onkologie Chirurgie Radiologie Innere Medizin Oberarzt Oberärztin Chefarzt
Chefärztin Assistenzarzt Assistenzärztin Hausarzt Hausärztin Facharzt Fachärztin Pfleger Pflegekraft Schwester
Kollege Kollegin Kollegen Damen Herren Frau Herr Herrn Mann Mutter Vater Bruder Sohn Tochter Ehefrau Ehemann Typ
Fieber Husten Schmerzen Übelkeit Erbrechen Schwindel Atemnot Dyspnoe Verdacht Zustand Herz Lunge Leber Niere Blut
Blutdruck Puls Labor Röntgen Sonographie Bekannt Bekannte Telefon Adresse Anschrift Versicherung Fallnummer Tag Tage
Woche Wochen Monat Monate Jahr Jahre Uhr Montag Dienstag Mittwoch Donnerstag Freitag Samstag Sonntag Januar Februar
März Mai Juni Juli Oktober Dezember Heute Gestern Morgen Alkohol Nikotin Allergie Allergien Bluthochdruck
Herzinfarkt Schlaganfall Krebs Demenz Alle Verlauf Vorstellung Kontrolle Gruß Grüßen Dank Rezept Überweisung
""")
SUFFIXES = (
    *(
        "itis",
        "osis",
        "noma",
        "coma",
        "phoma",
        "stoma",
        "eloma",
        "emia",
        "aemia",
        "pathy",
        "ectomy",
        "otomy",
        "oscopy",
        "ology",
        "ogram",
        "graphy",
    ),
    *(
        "cillin",
        "statin",
        "pril",
        "olol",
        "sartan",
        "azole",
        "mycin",
        "cycline",
        "mab",
        "nib",
        "parin",
        "idine",
    ),
    *(
        "infarkt",
        "tumor",
        "krebs",
        "karzinom",
        "krankheit",
        "erkrankung",
        "syndrom",
        "insuffizienz",
    ),
    *(
        "störung",
        "schmerzen",
        "schmerz",
        "therapie",
        "ungen",
        "heit",
        "keit",
        "untersuchung",
        "ämie",
        "embolie",
    ),
)
"""What ends a word of medicine and no name."""

EPONYMS = _words("""
Parkinson Alzheimer Crohn Hodgkin Huntington Graves Hashimoto Cushing Addison Down Turner Klinefelter Marfan Ehlers
Danlos Raynaud Sjögren Sjogren Wilson Paget Dupuytren Bell Babinski Romberg Murphy McBurney Glasgow Apgar Barrett
Meckel Mallory Weiss Wernicke Korsakoff Creutzfeldt Jakob Guillain Barré Barre Kawasaki Kaposi Epstein Barr Ménière
Meniere Tourette Asperger Duchenne Becker Bechterew Basedow Lyme Whipple Waldenström Waldenstrom Burkitt Ewing Wilms
Charcot Marie Tooth Friedreich Fabry Gaucher Tay Sachs Pompe Brugada Wolff White Fallot Eisenmenger Kussmaul Cheyne
Stokes Biot Rinne Weber Schirmer Trendelenburg Lasègue Lasegue Tinel Phalen Foley Swan Ganz Hickman Killip Forrester
Ranson Braden Norton Barthel Tinetti Mini-Mental Child Pugh Gleason Breslow Clark Duke Wells Holter Doppler Valsalva
Heimlich Whipple Billroth Hartmann Nissen Roux Pfannenstiel Sims Papanicolaou Pap Mantoux Coombs Gram Ziehl Neelsen
Giemsa Southern Colles Smith Monteggia Galeazzi Pott Perthes Scheuermann Osgood Schlatter Baker Achilles Eustachian
Fallopian Bartholin Cowper Kupffer Purkinje Langerhans Peyer Henle Bowman Broca Horner Bowen Behçet Behcet Still
Takayasu Wegener Goodpasture Buerger Alport Bartter Conn Sheehan Gilbert Rett Prader Willi Angelman Lynch Peutz
Jeghers Gardner Zollinger Ellison Chiari Budd Caroli Lewy Pick Lou Gehrig Lambert Eaton Stevens Johnson Quincke
""")
EPONYM_NOUNS = (
    r"(?:'s?)?(?:[ -](?:[A-Z][a-zé]{1,20}))?[ -]?(?:'s )?(?:disease|syndrome|sign|lymphoma|sarcoma|palsy|test|"
    r"tumou?r|contracture|phenomenon|ulcer|catheter|score|scale|criteria|staging|classification|stain|reflex|"
    r"fracture|monitor|lines?|procedure|anaemia|chorea|thyroiditis|o?esophagus|cells?|body|bodies|disorder|"
    r"[Ss]yndrom|[Kk]rankheit|[Ll]ymphom|[Zz]eichen|[Ss]core|[Ii]ndex|[Tt]est|[Kk]atheter|[Kk]lassifikation)(?:s|n|en|es|e)?(?![A-Za-z])"
)


def is_no_name(word: str) -> bool:
    """Whether it is a word of the language or of medicine."""
    title = word.title() if word.isupper() and len(word) > 3 else word
    ending = title.lower()[3:]  # a name that is an ending, such as Krebs, is one
    return word in NOT_NAMES or title in NOT_NAMES or ending.endswith(SUFFIXES)
