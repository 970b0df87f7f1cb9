"""The templates of `planted`: two halves, written apart."""

from typing import NamedTuple


class Template(NamedTuple):
    """A text with slots, in a language."""

    language: str
    text: str


DEVELOPMENT = (
    Template(
        "en",
        """Patient: {patient}
DOB: {date_us}   MRN: {mrn}   SSN: {ssn}
Address: {address}
Phone: {phone}  Fax: {fax}  Email: {email}

Admitted on {date_words} by Dr. {doctor_last}. Mr. {patient_last} is a {old}-year-old man with Parkinson's disease and
atrial fibrillation on apixaban 5 mg. BP 120/80 mmHg, HR 72, SpO2 98% on room air, HbA1c 7.2 %, K 4.2 mmol/L.
His wife {relative} reports two falls since {date_month}. GCS 15/15, pain 5/10, murmur 2/6. ICD-10 G20, I48.91.
Discussed with {doctor}. {patient_last} agreed to the plan.
Electronically signed by {doctor}, MD on {date_iso}""",
    ),
    Template(
        "en",
        """Dear Dr. {doctor_last},
Thank you for referring {patient}, a 54-year-old woman, seen on {date_us}. Colonoscopy showed Crohn's disease of the
terminal ileum. Azathioprine 50 mg 1-0-1. CRP 14.2, LOINC 1988-5, albumin 3.8. No Murphy's sign.
Insurance member ID {member}, account no. {account}. Pacemaker serial number {serial}. Records: {url}.
Her daughter {relative_first} can be reached at {phone_us}. Next visit: {date_abbreviated}.
Kind regards,
{doctor_initial}""",
    ),
    Template(
        "en",
        """{patient_capitals}  VISIT NO: {mrn_letters}  {date_slashes}
Pt c/o chest pain. PMH: HTN, DM2, Graves disease. Meds: metformin 1000 mg BID, lisinopril 10 mg daily.
Card ending noted: {card}. Driver's license: {licence}. VIN {vin}. Logged from {ip}. Study ID {study}. Ref {uuid}.
Seen by {doctor}. Plan: Wells score 3, D-dimer, CT Pulmonary Angiography. TNM T2N0M0, 3/12 nodes.""",
    ),
    Template(
        "de",
        """Patient: {patient_sorted}, geb. {date_dots}
Anschrift: {address}
Versichertennummer: {kvnr}, Steuer-ID {tax}, Fallnummer {mrn}
Tel.: {phone}, Fax: {fax}

Sehr geehrte Frau Kollegin, wir berichten über Herrn {patient}, der vom {date_dots} bis {date_dots_short} bei uns war.
Der {old}-jährige Patient leidet an Morbus Parkinson und arterieller Hypertonie. RR 135/85 mmHg, Puls 68/min.
Labor: Leukozyten 12000 /µl, Kalium 4,2 mmol/l, Hb 13.5 g/dl. Ramipril 5 mg 1-0-0, Pantoprazol 40 mg.
Am {date_day} Rücksprache mit Frau Dr. {doctor_last}. Seine Ehefrau {relative} wurde informiert. Herr {patient_last}
wurde am {date_german} entlassen. IBAN {iban}, Kennzeichen {plate_german}.
gez. Dr. med. {doctor}""",
    ),
    Template(
        "de",
        """Aufnahmebefund vom {date_german}
Frau {patient}, 67 Jahre, stellt sich mit Dyspnoe vor. Vater Herzinfarkt, Mutter Diabetes mellitus Typ 2.
Der Hausarzt Dr. {doctor} überwies. Herzschrittmacher Seriennummer {serial}. E-Mail: {email}.
Frau {patient_last} wohnt in {town}. Child-Pugh-Score A, NYHA II, EF 45 %. Echokardiographie ohne Befund.""",
    ),
    Template(
        "zh",
        """姓名：{patient}，男，{old}岁，身份证号：{resident}
住址：{address}
联系电话：{phone}，住院号：{mrn}，医保卡号：{member}
患者于{date_chinese}因胸痛3天入院。既往高血压病史10年，口服氨氯地平5mg每日一次。血压150/90mmHg，心率80次/分。
患者{patient}诉头晕。{doctor_last}医生查房，建议完善冠脉造影。其妻子{relative}已签字。
主治医师：{doctor}  {date_iso}""",
    ),
    Template(
        "zh",
        """{patient}，女，45岁，{date_chinese}就诊。查体：体温36.5℃，白细胞12.3×10^9/L。诊断：帕金森病、2型糖尿病。
车牌号{plate_chinese}，邮箱{email}。医生：{doctor}。家属{relative}陪同，电话{phone}。患者无高热，无黄疸。""",
    ),
    Template(
        "en",
        """DISCHARGE SUMMARY
Name: {patient_sorted}        NHS No: {nhs}        Hospital number: {mrn}
Date of birth: {date_short}
Home address:
{address}
GP: Dr {doctor}

Mrs {patient_last} was brought in by ambulance on {date_words_uk} after a fall. She is {old} years old and lives with her
son {relative}. Known Alzheimer's disease and COPD. On arrival: BP 98/60, RR 24, temp 38.2, sats 91%, NEWS 7.
Bloods: WCC 14.2, CRP 180, Na 131, eGFR 45. Chest X-ray: right lower lobe consolidation. CURB-65 score 3.
Treated with co-amoxiclav 1.2 g IV TDS and doxycycline 100 mg. Colles fracture of the left wrist, Foley catheter.
{relative_first} was updated by phone on {phone} and will email {email}.
Follow-up in fracture clinic on {date_abbreviated}.
Dictated by {doctor_initial}""",
    ),
    Template(
        "en",
        """Re: {patient}, {date_dots}
I reviewed this pleasant 61 year old gentleman in clinic on {date_words}. He has Hodgkin lymphoma, stage IIA, and
completed six cycles of ABVD in 2019. Performance status 1. Hb 121 g/L, platelets 210, LDH 190. PET-CT Deauville 2.
{patient_first} works as a plumber and drives (licence no. {licence}). He asked for copies to be faxed to {fax}.
His bank details for the refund are {iban}. The implant's serial no is {serial}. See {url} for the protocol.
I have discussed this with my colleague {doctor}, who agrees.
Yours sincerely,
{doctor}
Consultant Haematologist""",
    ),
    Template(
        "en",
        """Nursing note {date_iso} 14:30
{patient} settled overnight. Pain score 3/10, urine output 40 ml/h, Braden 16. Warfarin 3 mg given, INR 2.4.
Spoke to {relative} (daughter), mobile {phone}. Seen by {doctor_last} from Cardiology: continue bisoprolol 2.5 mg.
Specimen no. {mrn_letters}. Member number {member}. Credit card {card} kept in ward safe. Login {ip}. UUID {uuid}.
{patient_last} to be transferred to Oak Ward on {date_slashes}. NHS {nhs_bare}.""",
    ),
    Template(
        "en",
        """CONSULTATION REQUEST
Requesting provider: {doctor}, MD. Patient's account number is {account}; social security {ssn}; subject no. {study}.
{patient} presented in {date_month} with jaundice. MRCP: no stones. Whipple procedure was considered. CA 19-9 of 37.
SNOMED CT 235856003, NDC 0002-8215-01, rs12979860 genotype CC. Vehicle: {vin}. Call {phone_us} with questions.""",
    ),
    Template(
        "de",
        """Entlassungsbrief
Sehr geehrter Herr Kollege {doctor_last},
wir danken für die Zuweisung von {patient}, geboren am {date_dots}, wohnhaft {address}.
SV-Nummer: {svnr}. Aufnahmezahl-Nr. {mrn}. Telefonisch erreichbar unter {phone}.
Diagnosen: Colitis ulcerosa, Hashimoto-Thyreoiditis, Zustand nach Billroth-II-Operation. Die Patientin ist {old} Jahre alt.
Medikation: Euthyrox 75 µg 1-0-0, Mesalazin 500 mg 1-1-1, Novalgin 30 Tropfen bei Bedarf. RR 118/76, SpO2 97 %.
Frau {patient_last} wurde am {date_dots_short} von OA Dr. {doctor} koloskopiert, Kontrolle am {date_day} geplant.
Die Tochter {relative} ist Ansprechpartnerin ({email}). Überweisung auf {iban}.
Mit freundlichen Grüßen
Prim. Univ.-Prof. Dr. {doctor}""",
    ),
    Template(
        "de",
        """Verlegungsbericht, {date_german}
Pat. {patient_capitals}, AHV {ahv}, Fall-Nr. {mrn_letters}, Krankenkasse-Nr. {member}
Übernahme aus dem Spital in {town}. Aktuell GCS 14, Nikotinabusus 30 py, Leukozyten 9,8 G/l, Kreatinin 1.1 mg/dl.
Herr {patient_last} lebt allein, sein Bruder {relative} kommt täglich. Gerät: Seriennummer {serial}. Fax {fax}.
Alzheimer-Demenz bekannt, Babinski negativ. Unterschrieben von {doctor}.""",
    ),
    Template(
        "zh",
        """出院记录
患者{patient}，{old}岁，病案号{mrn}，入院日期{date_iso}，出院日期{date_slashes}。
现住址：{address}，手机：{phone}，证件号码{resident}。
入院诊断：急性阑尾炎。血常规：白细胞15.6×10^9/L，中性粒细胞88%，血红蛋白132g/L。行腹腔镜阑尾切除术，术后予头孢曲松2g静滴。
{patient}恢复良好，{doctor}主任查房后同意于{date_chinese}出院。父亲{relative}知情同意。银行账号{card}。
记录者：{doctor}""",
    ),
    Template(
        "zh",
        """门诊病历 {date_chinese} 就诊号：{mrn}
病人姓名:{patient} 年龄:62岁 主诉:反复咳嗽2周。T 37.8℃，P 90次/分，BP 130/85mmHg。诊断:慢性阻塞性肺疾病、克罗恩病。
联系人：{relative}（女儿），电话：{phone}，邮箱：{email}。车辆{plate_chinese}。处方医师{doctor}。""",
    ),
    Template(
        "en",
        """AMBULATORY VISIT  -  {date_words}
Client name: {patient}      Chart #: {mrn}      Health plan ID: {member}
Lives at: {address}
Cell: {phone}

S: {patient_first} is here for review of type 2 diabetes. Last seen {date_short}. Home sugars 7 to 11. No hypoglycaemia.
Spouse ({relative}) does the cooking. Turned {old} years old last week. Alert, Glasgow 15, mini-mental 27/30.
O: BP 142/84, P 76, Wt 81.4 kg, BMI 27.3. Babinski downgoing. Dupuytren contracture both hands.
A/P: Increase gliclazide to 80 mg. Continue Lipitor and ezetimibe. Recheck A1c in 3 months.
Provider: {doctor}, NP""",
    ),
    Template(
        "en",
        """From: {doctor} <{email}>
Sent: {date_iso} 09:12
Subject: {patient_sorted}

Hi {relative_first},
Could you book {patient} for an echo before {date_words_uk}? Troponin was 12 then 14, so this is not an MI, but there is an
ejection systolic murmur and known Marfan syndrome. Epworth 9. Fax the form to {fax} or ring the family on {phone}.
The insurer wants the invoice number {account} and the IBAN {iban}. Portal: {url}
Thanks, {doctor_first}""",
    ),
    Template(
        "en",
        """OPERATIVE REPORT
SURGEON: {doctor}          ANESTHESIOLOGIST: {relative}
PATIENT: {patient_capitals}          DATE OF SURGERY: {date_us}
The patient, {patient}, was taken to the operating room. A Pfannenstiel incision was made. Estimated blood loss 250 mL. Two
units of O negative blood. A stent (serial number {serial}) was placed. Ringer lactate 2000 ml, cefazolin 2 g, Bovie set at 30.
ASA class II, Mallampati 1. CPT 58150, ICD-10-PCS 0UT90ZZ. Sponge counts were correct. {patient_last} tolerated this well.
Consent was witnessed on {date_abbreviated} under licence number {licence}. Workstation {ip}, case {uuid}.""",
    ),
    Template(
        "en",
        """Social work. {patient} ({old} y/o) was admitted in {date_month}. Social security number: {ssn}, UK number {nhs}, or
without spaces {nhs_bare}. Visa {card}. Car {vin}. Subject ID {study}. She was born in {town}. Specimen number {mrn_letters}.
I spoke with {relative}, her niece, who can be reached at {phone_us}. Ms {patient_last} scored 4 on the PHQ-9 and 3/15 on the GDS.""",
    ),
    Template(
        "de",
        """Ambulanzbrief vom {date_dots}
Patientenname: {patient}      Geburtsdatum: {date_german}      Pat.-ID: {mrn}
Wohnort: {address}
Anamnese: Die {old}-jährige Patientin berichtet über Schwindel. Raynaud-Syndrom, Zustand nach Apoplex 2016. Vater mit Lungenkrebs.
Befund: RR 160/90, HF 88, Temp. 37,9 Grad, Lasègue negativ, Murphy-Zeichen negativ. CRP 3,2 mg/dl, TSH 2.1 mU/l, Ferritin 85.
Prozedere: Umstellung auf Candesartan 8 mg 1-0-0, Kontrolle der Elektrolyte, Termin am {date_dots_short}. Mobil {phone}.
Steuernummer {tax}, Bankverbindung {iban}. Mitversichert über {relative}, Versichertennr. {kvnr}.
Dr. {doctor}, Fachärztin für Neurologie""",
    ),
    Template(
        "de",
        """Pflegeüberleitung {date_iso}
Frau {patient_last}, Vorname {patient_first}, kommt aus {town}. Braden-Skala 17, Barthel-Index 65, Gewicht 71,5 kg, Hausnotruf vorhanden.
Nächste Angehörige: {relative}, {email}. Sozialversicherung {svnr}, AHV-Nr. {ahv}, Kassennummer {member}.
Insulin glargin 18 Einheiten zur Nacht. Seit {date_day} Foley-Katheter. Rollator (Serien-Nr. {serial}), Auto {plate_german}.
Rückfragen an Stationsleitung {doctor}, Telefax {fax}, Vorgang {mrn_letters}.""",
    ),
    Template(
        "zh",
        """会诊记录 时间：{date_iso}
床号12 姓名 {patient} 性别 女 年龄 58岁 住院号 {mrn}
会诊理由：{patient_last}女士因阵发性心悸2月于{date_chinese}收入我科。心电图示房颤，INR 2.1，华法林3mg口服，甲状腺功能正常，桥本甲状腺炎史。
会诊医师{doctor}建议：加用美托洛尔25mg，每日两次，Holter监测。已告知其丈夫{relative}，手机号{phone}。
户籍地址：{address}。卡号{card}，身份证{resident}。""",
    ),
    Template(
        "zh",
        """随访：{date_slashes}电话联系{patient}家属，{relative}表示{old}岁老人饮食睡眠可，血糖6.8mmol/L，HbA1c 6.9%。社保卡号{member}，
电子邮箱{email}，联系电话 {phone}，车牌{plate_chinese}。下次复诊{date_chinese}。随访护士：{doctor}""",
    ),
)

HELD_OUT = (
    Template(
        "en",
        """EMERGENCY DEPARTMENT RECORD            Arrival: {date_us} 22:41
{patient_sorted}   Record no. {mrn}   DOB {date_iso}
This {old}-year-old female was found by her neighbor {relative} at the foot of the stairs. EMS reports GCS 14, glucose 6.1, BP 102/58.
Past history of Wilson disease, Bell's palsy and osteoporosis. Takes carbidopa-levodopa 25/100 TID, aspirin 81 mg. Allergic to
penicillin. Spouse's phone is {phone}. PCP is Dr. {doctor}, office fax {fax}. Residence: {address}
X-ray shows a Salter-Harris II injury. Wells 1.5, PERC negative. At 23:10 {patient_last} became drowsy. CT head normal.
Plan was reviewed with {doctor_initial} on {date_words}.""",
    ),
    Template(
        "en",
        """Psychology report on {patient}
Tested on {date_words_uk} and {date_abbreviated} at the request of {doctor}, FRCP. Full-scale IQ 104, WAIS-IV, Beck 12, Rey figure 31/36.
Mother, {relative}, completed the Vineland. {patient_first} was polite and engaged throughout. National Insurance and NHS number
{nhs}, policy number {member}. Payment by card {card}; bank account {iban}; invoice no. {account}. Reply to {email}, or see {url}""",
    ),
    Template(
        "en",
        """PATHOLOGY  Accession: {mrn_letters}   Collected {date_slashes}   Patient ID {mrn}   Device serial: {serial}
Submitted by {doctor}. Specimen A: sigmoid colon. Ki-67 20 %, HER2 2+, p53 wild type, Gleason 3+4, Breslow 0.8 mm, 0/14 nodes.
Comment: {patient}, born in {date_month}, has Lynch syndrome (MLH1 c.350C>T). Discussed by telephone with {relative} at {phone_us}.
SSN {ssn}. Trial subject number {study}, token {uuid}, host {ip}, driver license {licence}, VIN {vin}. NHS {nhs_bare}.""",
    ),
    Template(
        "de",
        """Operationsbericht        OP-Datum: {date_dots}
Name, Vorname: {patient_sorted}     Geb.-Datum: {date_dots_short}     Aufnahmenummer: {mrn}
Operateur: {doctor}     Instrumentierende: {relative}
Indikation: Die {old}-jährige Patientin stürzte am {date_day} auf die linke Hüfte. Pipkin-Fraktur, Gehstrecke 50 m, BMI 24,1, Hb 9.8.
Verlauf: Zugang nach Watson-Jones, Implantation einer Endoprothese (Seriennummer: {serial}), Blutverlust 300 ml, Schnitt-Naht-Zeit 62 min.
Frau {patient_last} wohnt unter der Adresse {address}
Nachsorge: Clexane 40 mg 0-0-1, Novaminsulfon 500 mg 1-1-1-1. Rückfragen: {phone} oder {email}, Fax: {fax}.""",
    ),
    Template(
        "de",
        """Psychiatrisches Konsil, {date_german}
Vorgestellt wird {patient}, 41 Jahre, bekannt aus der Ambulanz. Hamilton-Skala 21, MMST 28/30, Lithiumspiegel 0.7 mmol/l, Sertralin 50 mg.
Er kam in Begleitung seiner Schwester {relative} aus {town}. Versicherten-Nr.: {kvnr}, AHV {ahv}, SVNR {svnr}, Steuer-ID: {tax}.
Kfz-Kennzeichen {plate_german}, Konto {iban}, Mitgliedsnummer {member}, Auftragsnummer {mrn_letters}. Nächster Termin: {date_iso}.
Herr {patient_last} ist absprachefähig. Dr. med. {doctor}, Oberarzt""",
    ),
    Template(
        "zh",
        """手术记录
患者姓名：{patient}    住院号：{mrn}    手术日期：{date_iso}
术前诊断：股骨颈骨折。手术医生：{doctor}。麻醉方式：腰麻。{old}岁女性患者{patient}于{date_chinese}行人工股骨头置换术，植入物序列号：{serial}。
术中出血200ml，血压130/70mmHg，术后予头孢唑林1g静滴。儿子{relative}签署同意书，联系电话：{phone}。身份证号码：{resident}。""",
    ),
    Template(
        "zh",
        """健康体检报告（{date_slashes}）
受检者：{patient}，身高165cm，体重60kg，BMI 22.0，空腹血糖5.6mmol/L，甲胎蛋白3.2ng/ml。
通讯地址：{address}；电话：{phone}；电子邮件：{email}；医保号：{member}；银行卡{card}；车牌号：{plate_chinese}。
{patient_last}先生建议{date_chinese}复查。检查医师：{doctor}；紧急联系人：{relative}。""",
    ),
)
