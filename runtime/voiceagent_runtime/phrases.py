"""What is said for want of an answer, in the language of the conversation (pure)."""

from __future__ import annotations

from typing import NamedTuple

from .pipeline import Apology


class Phrases(NamedTuple):
    """An apology for one lost turn, and a farewell when no turn can be had any more; empty: nothing is said."""

    text: str
    farewell: str


_DEFAULTS = {
    "en": Phrases(
        "I'm sorry, something went wrong on my side. Could you please say that again?",
        "I'm sorry, I cannot help you because of a technical problem. Please try again later. Goodbye.",
    ),
    "ar": Phrases(
        "عذرًا، حدث خطأ من جهتي. هل يمكنك إعادة ما قلته من فضلك؟",
        "عذرًا، لا أستطيع مساعدتك بسبب مشكلة تقنية. يرجى المحاولة لاحقًا. مع السلامة.",
    ),
    "de": Phrases(
        "Entschuldigung, bei mir ist etwas schiefgegangen. Könnten Sie das bitte noch einmal sagen?",
        "Es tut mir leid, wegen einer technischen Störung kann ich Ihnen gerade nicht helfen. "
        "Bitte versuchen Sie es später noch einmal. Auf Wiederhören.",
    ),
    "es": Phrases(
        "Lo siento, algo ha fallado por mi parte. ¿Podría repetirlo, por favor?",
        "Lo siento, no puedo ayudarle debido a un problema técnico. Por favor, inténtelo más tarde. Adiós.",
    ),
    "fr": Phrases(
        "Je suis désolé, un problème est survenu de mon côté. Pourriez-vous répéter, s'il vous plaît ?",
        "Je suis désolé, un problème technique m'empêche de vous aider. Veuillez réessayer plus tard. Au revoir.",
    ),
    "hi": Phrases(
        "माफ़ कीजिए, मेरी तरफ़ से कुछ गड़बड़ हो गई। क्या आप कृपया दोबारा कह सकते हैं?",
        "माफ़ कीजिए, तकनीकी समस्या के कारण मैं अभी मदद नहीं कर सकता। कृपया बाद में फिर कोशिश करें। नमस्ते।",
    ),
    "id": Phrases(
        "Maaf, ada masalah di pihak saya. Bisakah Anda mengulanginya?",
        "Maaf, saya tidak dapat membantu karena ada gangguan teknis. Silakan coba lagi nanti. Sampai jumpa.",
    ),
    "it": Phrases(
        "Mi scusi, qualcosa è andato storto da parte mia. Potrebbe ripetere, per favore?",
        "Mi dispiace, non posso aiutarla a causa di un problema tecnico. La prego di riprovare più tardi. Arrivederci.",
    ),
    "ja": Phrases(
        "申し訳ございません。こちらで問題が発生しました。もう一度おっしゃっていただけますか。",
        "申し訳ございません。技術的な問題のため、ただいま対応できません。後ほどおかけ直しください。失礼いたします。",
    ),
    "ko": Phrases(
        "죄송합니다. 제 쪽에 문제가 있었습니다. 다시 한번 말씀해 주시겠어요?",
        "죄송합니다. 기술적인 문제로 지금은 도와드릴 수 없습니다. 나중에 다시 시도해 주세요. 안녕히 계세요.",
    ),
    "nl": Phrases(
        "Sorry, er ging iets mis aan mijn kant. Kunt u dat alstublieft nog eens zeggen?",
        "Het spijt me, door een technische storing kan ik u niet helpen. Probeert u het later nog eens. Tot ziens.",
    ),
    "pt": Phrases(
        "Desculpe, algo correu mal do meu lado. Poderia repetir, por favor?",
        "Desculpe, não posso ajudar devido a um problema técnico. Por favor, tente novamente mais tarde. Adeus.",
    ),
    "tr": Phrases(
        "Özür dilerim, benim tarafımda bir sorun oluştu. Lütfen tekrar eder misiniz?",
        "Özür dilerim, teknik bir sorun nedeniyle yardımcı olamıyorum. Lütfen daha sonra tekrar deneyin. Hoşça kalın.",
    ),
    "zh": Phrases(
        "抱歉，我这边出了点问题。请您再说一遍好吗？",
        "抱歉，由于技术问题，我现在无法为您服务。请稍后再试。再见。",
    ),
}


def phrases(language: str, chosen: Apology) -> Phrases:
    """Return what was chosen, and for the rest sentences in the conversation's language, or else in English."""
    default = _DEFAULTS.get(language.partition("-")[0].lower(), _DEFAULTS["en"])
    return Phrases(
        default.text if chosen.text is None else chosen.text,
        default.farewell if chosen.farewell is None else chosen.farewell,
    )
